"""A causal LM run in parts: the lower blocks once, the upper ones as often as adapters and epochs ask for it.

What lies below the first adapted block gives the same states for the reference, for every adapter and in every epoch.
`run_bottom` followed by `run_top` is the model's own forward pass, up to rounding, in float32 on a CPU bit for bit.
Positions are counted over real tokens, as `generate` counts them, so left and right padding agree.
"""

from __future__ import annotations

from typing import Any

from morlaif_core.errors import UserError

# Families whose forward pass is: embed, blocks, norm, head, with nothing scaled in between.
_LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")


def causal_lm(model: Any) -> Any:
    """Return transformers' causal LM under a peft wrapper; adapted modules stay in place inside it.

    model: plain or wrapped.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> causal_lm(model) is model
    True
    """
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def _is_gpt2(lm: Any) -> bool:
    """Tell GPT-2 from the Llama family; refuse what is neither. Raises `UserError`."""
    family = lm.config.model_type
    if family == "gpt2":
        return True
    # `run_middle` makes one full causal mask, and a layer with a window needs another.
    windowed = "sliding_attention" in (getattr(lm.config, "layer_types", None) or ())
    if family not in _LLAMA_LIKE or windowed or getattr(lm.config, "sliding_window", None):
        raise UserError(
            f"models of the family '{family}' cannot be run in parts; use one of gpt2, {', '.join(_LLAMA_LIKE)} "
            "(without sliding windows), or leave `lora.top_layers` and components that share lower layers out"
        )
    return False


def _blocks(lm: Any) -> Any:
    return lm.transformer.h if _is_gpt2(lm) else lm.model.layers


def layer_count(model: Any) -> int:
    """Return the number of transformer blocks. Raises `UserError` for families that cannot be run in parts.

    model: a causal LM.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> layer_count(model)
    3
    """
    return len(_blocks(causal_lm(model)))


def positions(attention_mask: Any) -> Any:
    """Return position ids (b, t) counted over real tokens, 0 on padding that stands before them.

    attention_mask: (b, t), 1 on real tokens.

    >>> import torch
    >>> positions(torch.tensor([[0, 1, 1]])).tolist()
    [[0, 0, 1]]
    """
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def run_bottom(model: Any, input_ids: Any, attention_mask: Any, layers: int) -> Any:
    """Embed tokens and run the first blocks; returns states (b, t, h), before any final norm.

    model: a causal LM. input_ids: (b, t). attention_mask: (b, t), 1 on real tokens. layers: how many blocks, 0 (embeddings
    alone) to `layer_count`. Raises `UserError`.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> import torch
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> run_bottom(model, ids, torch.ones_like(ids), 2).shape
    torch.Size([1, 3, 32])
    """
    lm = causal_lm(model)
    if _is_gpt2(lm):
        inner = lm.transformer
        hidden = inner.drop(inner.wte(input_ids) + inner.wpe(positions(attention_mask)))
    else:
        hidden = lm.model.embed_tokens(input_ids)
    return run_middle(model, hidden, attention_mask, 0, layers)


def run_middle(model: Any, hidden: Any, attention_mask: Any, start: int, stop: int) -> Any:
    """Run some blocks on states (b, t, h); returns states (b, t, h).

    model: a causal LM. hidden: (b, t, h) of `run_bottom`. attention_mask: (b, t), 1 on real tokens. start, stop: blocks
    ``start`` to ``stop`` - 1.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> import torch
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> mask, hidden = torch.ones_like(ids), run_bottom(model, ids, torch.ones_like(ids), 1)
    >>> torch.equal(run_middle(model, hidden, mask, 1, 2), run_bottom(model, ids, mask, 2))
    True
    """
    from transformers.masking_utils import create_causal_mask

    lm = causal_lm(model)
    blocks = _blocks(lm)
    if not 0 <= start <= stop <= len(blocks):
        raise ValueError(f"blocks {start} to {stop} of {len(blocks)}")
    if start == stop:
        return hidden
    where = positions(attention_mask)
    # The same angles for every block, computed once as in the model's own forward pass.
    extra = {} if _is_gpt2(lm) else {"position_embeddings": lm.model.rotary_emb(hidden, position_ids=where)}
    mask = create_causal_mask(
        config=lm.config, inputs_embeds=hidden, attention_mask=attention_mask, past_key_values=None, position_ids=where
    )
    for block in blocks[start:stop]:
        hidden = block(hidden, attention_mask=mask, position_ids=where, use_cache=False, **extra)
    return hidden


def run_top(model: Any, hidden: Any, attention_mask: Any, start: int, *, last_hidden: bool = False) -> Any:
    """Run blocks to the end, the final norm and the head on states.

    Returns logits (b, t, V); with `last_hidden` the states (b, t, h) that the head reads instead: cut them to the
    positions that matter, then call `lm_logits`. Gradients pass to adapters and to `hidden`.

    model: a causal LM. hidden: (b, t, h) of `run_bottom`. attention_mask: (b, t), 1 on real tokens. start: the first block.
    last_hidden: leave out the head.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> import torch
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> hidden = run_bottom(model, ids, torch.ones_like(ids), 2)
    >>> torch.allclose(run_top(model, hidden, torch.ones_like(ids), 2), model(ids).logits, atol=1e-5)
    True
    """
    lm = causal_lm(model)
    hidden = run_middle(model, hidden, attention_mask, start, len(_blocks(lm)))
    hidden = lm.transformer.ln_f(hidden) if _is_gpt2(lm) else lm.model.norm(hidden)
    return hidden if last_hidden else lm_logits(model, hidden)


def lm_logits(model: Any, hidden: Any) -> Any:
    """Apply the language-model head to final states (…, h); returns logits (…, V), as the model's own forward gives them.

    That is with Cohere's factor (``logit_scale``), Granite's divisor (``logits_scaling``) and the soft cap of Gemma 2
    (``final_logit_softcapping``: c tanh(x / c)); what other families do is left out.

    model: a causal LM. hidden: (…, h) of `run_top` with ``last_hidden``.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> import torch
    >>> lm_logits(model, torch.zeros(1, 32)).shape
    torch.Size([1, 300])
    """
    lm = causal_lm(model)
    config, logits = lm.config.get_text_config(), lm.get_output_embeddings()(hidden)
    if (factor := getattr(lm, "logit_scale", None)) is not None:
        logits = logits * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = (logits / cap).tanh() * cap
    return logits


def context_length(model: Any) -> int | None:
    """Return the positions that a model has, prompt and response together; None where its config names no limit.

    model: a causal LM.

    >>> from morlaif_core import context_length, layer_count, prompt_ids
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> model = AutoModelForCausalLM.from_pretrained(tiny_base())
    >>> context_length(model)
    128
    """
    # Of models that also see images, the sizes stand in a config within the config.
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None) or 0
    return limit if limit > 0 else None
