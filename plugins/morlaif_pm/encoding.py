"""Prompts and responses as token ids, and how they are cut into batches.

Leaves out: the tokenizer's own truncation, because it would cut the response, or its eos, where a scorer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from morlaif_core import Encoded, Prompt, Target, UserError, context_length, encode_pair


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """Load a tokenizer with a pad token and right padding. Raises `UserError` where it has no eos token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    if tokenizer.eos_token is None:
        raise UserError(f"the tokenizer of {source} has no end-of-sequence token, which a preference model reads last")
    # On the right no token sees the padding, and positions stay as they are.
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        # No new token, which would resize the base; models pool by mask, so the id is never read.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def length_limit(model: Any, wanted: int) -> int:
    """Return the tokens a text may have: the option, or the positions that the model has, if fewer."""
    return min(wanted, context_length(model) or wanted)


def rendering_of(base: Target) -> dict[str, Any]:
    """Return how a base's prompts are rendered, as done.json keeps it; variables only where there are any."""
    kwargs = {"chat_template_kwargs": base.chat_template_kwargs} if base.chat_template_kwargs else {}
    return {"template": base.template, **kwargs}


def encode_all(
    tokenizer: Any,
    prompts: Sequence[Prompt],
    responses: Sequence[str],
    max_length: int,
    template: Literal["auto", "chat", "hh"],
    kwargs: Mapping[str, Any] | None = None,
) -> list[Encoded]:
    """Encode n prompts with their responses, in order; kwargs: variables for the chat template."""
    if len(prompts) != len(responses):
        raise ValueError(f"{len(prompts)} prompts, but {len(responses)} responses")
    return [
        encode_pair(tokenizer, prompt, response, max_length, template, kwargs)
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield every index once, in batches of similar length, longest first, of at most ``tokens`` tokens with padding.

    A text longer than that is a batch alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        size = max(1, tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pad_right(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Return token ids and attention mask, each (b, t) int64, padded on the right with the id ``pad``."""
    import torch

    width = max(len(ids) for ids in sequences)
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in sequences], dtype=torch.long)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in sequences], dtype=torch.long)
    return ids, mask


def resolved(base: Target) -> str:
    """Return the folder or hub id of a base model. Raises `UserError` for quantised ones."""
    if base.quantize is not None:
        raise UserError("the preference models' base cannot be quantised; leave preference_model.base.quantize out")
    return str(base.model)
