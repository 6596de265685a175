"""Tiny models of about 40 families of causal language models, from config objects alone: random weights, nothing loaded."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from tests.helpers.tiny_models import tiny_tokenizer

IDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 2}
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, **IDS,
}  # fmt: skip
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT: dict[str, Any] = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "num_key_value_heads": 4, **EXPERTS,
}  # fmt: skip
GEMMA: dict[str, Any] = {**SHAPE, "query_pre_attn_scalar": 8, "sliding_window": 16}

SERVED: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, **IDS},
    "llama": SHAPE,
    "mistral": SHAPE | {"sliding_window": 16},
    "mixtral": SHAPE | {"num_local_experts": 4},
    "ministral": SHAPE | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen2": SHAPE,
    "qwen2_moe": SHAPE | EXPERTS | {"num_experts": 4, "shared_expert_intermediate_size": 32},
    "qwen3": SHAPE,
    "qwen3_moe": SHAPE | EXPERTS | {"num_experts": 4},
    "gemma": SHAPE,
    "gemma2": GEMMA | {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 5.0},
    "gemma3_text": GEMMA,
    "cohere": SHAPE | {"logit_scale": 0.25},
    "cohere2": SHAPE | {"logit_scale": 0.25, "sliding_window": 16},
    "granite": SHAPE | {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    "granitemoe": SHAPE | {"logits_scaling": 4.0, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 128, "window_size": 16,
        "attention_types": [[["global", "local"], 1]], **IDS,
    },
    "gpt_neox": SHAPE,
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "rotary_dim": 4, **IDS},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, **IDS},
    "codegen": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "rotary_dim": 4, **IDS},
    "opt": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32,
        "max_position_embeddings": 128, **IDS,
    },
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, **IDS},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **IDS},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128, **IDS},
    "phi": SHAPE,
    "phi3": SHAPE,
    "stablelm": SHAPE,
    "starcoder2": SHAPE,
    "olmo": SHAPE,
    "olmo2": SHAPE,
    "olmo3": SHAPE | {"sliding_window": 16},
    "olmoe": SHAPE | {"num_experts": 4, "num_experts_per_tok": 2},
    "persimmon": SHAPE,
    "nemotron": SHAPE,
    "helium": SHAPE,
    "exaone4": SHAPE | {"sliding_window": 16},
    "glm": SHAPE,
    "glm4": SHAPE,
    "smollm3": SHAPE,
    "gpt_oss": SHAPE | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    "deepseek_v3": SHAPE | LATENT,
    "ernie4_5": SHAPE,
    "hunyuan_v1_dense": SHAPE,
    "arcee": SHAPE,
    "seed_oss": SHAPE,
    "apertus": SHAPE,
    "llama4_text": SHAPE | {"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 64},
}  # fmt: skip
"""Families whose state is keys and values alone."""

NESTED: dict[str, dict[str, Any]] = {
    "gemma3": {
        "text_config": GEMMA,
        "vision_config": {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 8,
        },
        "mm_tokens_per_image": 4, **IDS,
    },
}  # fmt: skip
"""Families with images: the sizes of the language model stand in a text_config."""

OTHER_HEADS: dict[str, dict[str, Any]] = {
    "hyperclovax": SHAPE | {"logits_scaling": 4.0},
    "minicpm3": SHAPE | LATENT,
}
"""Families that change their logits in ways of their own."""

RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **IDS},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1,
               **IDS},
    "rwkv": {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, **IDS},
    "lfm2": SHAPE | {"layer_types": ["conv", "full_attention"]},
    "jamba": SHAPE | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False},
    "bamba": SHAPE | {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    "falcon_h1": SHAPE | {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_d_ssm": 64},
    "qwen3_next": SHAPE | EXPERTS | {
        "num_experts": 4, "shared_expert_intermediate_size": 32, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
    },
    "recurrent_gemma": SHAPE | {"lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"]},
}  # fmt: skip
"""Families with layers that keep a state of another kind."""


@cache
def family(name: str) -> Any:
    """Return the family's tiny model, as large as the tiny tokenizer's vocabulary, in eval mode; made once."""
    from transformers import AutoConfig, AutoModelForCausalLM

    options: dict[str, Any] = dict({**SERVED, **NESTED, **OTHER_HEADS, **RECURRENT}[name])
    size = len(tiny_tokenizer())
    if "text_config" in options:
        options["text_config"] = {**options["text_config"], "vocab_size": size}
    else:
        options["vocab_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **options)).float().eval()
        for weight in model.parameters():  # away from the near-uniform start, so that a wrong step shows
            if weight.dim() > 1 and name not in RECURRENT:
                weight.data.normal_(0, 0.2)
    return model
