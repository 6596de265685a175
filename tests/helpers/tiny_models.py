"""Tiny real models and a tokenizer, made on the spot from config objects: no network, no weights in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from morlaif_core.testing.bases import CHAT as CHAT, tiny_tokenizer as tiny_tokenizer

FAMILIES = ("gpt2", "llama")


def tiny_model(family: str, *, seed: int = 0, width: int = 32, positions: int = 128) -> Any:
    """Return a 3-block model with random weights, as large as the tokenizer's vocabulary, in eval mode."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    size = len(tiny_tokenizer())
    ids = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "gpt2":
            model: Any = GPT2LMHeadModel(
                GPT2Config(vocab_size=size, n_positions=positions, n_embd=width, n_layer=3, n_head=2, **ids)
            )
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=size,
                    hidden_size=width,
                    intermediate_size=2 * width,
                    num_hidden_layers=3,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    max_position_embeddings=positions,
                    **ids,
                )
            )
        for weight in model.parameters():  # away from the near-uniform start, so that draws differ
            weight.data.mul_(3.0)
    return model.eval()


def save_tiny(
    folder: Path, family: str, *, seed: int = 0, width: int = 32, positions: int = 128, chat: bool = False
) -> Path:
    """Save a tiny model with its tokenizer; returns the folder."""
    tiny_model(family, seed=seed, width=width, positions=positions).save_pretrained(folder)
    tiny_tokenizer(chat=chat).save_pretrained(folder)
    return folder
