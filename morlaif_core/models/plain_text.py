"""Text that somebody wrote as token ids: what it spells out as a token that steers a model stays text."""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from typing import Any

_MARKS = "<[{|"
"""What an added token begins with where it steers a model rather than stands for text (``<think>``, ``[INST]``)."""


def text_ids(tokenizer: Any, text: str, *, add_special_tokens: bool = False) -> list[int]:
    """Encode a text; neither a special token nor another that steers (``<think>``) comes of what is spelled out in it.

    add_special_tokens: with those that the tokenizer puts around a text; where the text spells out a steering token that is
    not marked as special, those before it alone.
    """
    if not tokenizer.is_fast or not any(token in text for token in steering_tokens(tokenizer, special=False)):
        # The same, and faster.
        return token_ids(tokenizer, text, add_special_tokens=add_special_tokens, split_special_tokens=True)
    ids: list[int] = _plain(tokenizer).encode(text, add_special_tokens=False).ids
    return [*start_ids(tokenizer), *ids] if add_special_tokens else ids


def token_ids(tokenizer: Any, text: str, *, add_special_tokens: bool = False, **how: bool) -> list[int]:
    """Encode a text as the tokenizer does, of whatever length."""
    # Not verbose: transformers would warn of a text longer than the context, but such a prompt is left out or refused and
    # a scored response cut, in tokens, before a model sees it.
    return list(tokenizer(text, add_special_tokens=add_special_tokens, verbose=False, **how)["input_ids"])


def start_ids(tokenizer: Any) -> list[int]:
    """Return bos where the tokenizer puts it before a text."""
    added = tokenizer("")["input_ids"]
    return [tokenizer.bos_token_id] if tokenizer.bos_token_id in added else []


@lru_cache(maxsize=32)  # of a tokenizer with hundreds, the list takes half as long as a prompt
def steering_tokens(tokenizer: Any, *, special: bool) -> frozenset[str]:
    """Return what the added tokens that steer a model look like: those marked as special, or the others."""
    added = tokenizer.added_tokens_decoder.values()
    return frozenset(
        token.content for token in added if token.special == special and not _is_text(token.content, special)
    )


@lru_cache(maxsize=4)
def _plain(tokenizer: Any) -> Any:
    return text_tokenizer(tokenizer)[0]


def text_tokenizer(tokenizer: Any) -> tuple[Any, frozenset[int]]:
    """Return a `tokenizers.Tokenizer` that knows no special and no steering token, and the ids that it must not give.

    Added tokens that stand for text (runs of spaces, letters that the model lacks) stay, with their ids. It takes a second
    for a large vocabulary.

    tokenizer: transformers', a fast one.

    >>> from morlaif_core.testing.bases import tiny_tokenizer
    >>> plain, _ = text_tokenizer(tiny_tokenizer())
    >>> len(plain.encode("</s>").ids) > 1
    True
    """
    from tokenizers import Tokenizer

    # By way of JSON, as a tokenizer cannot be asked to forget a token.
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    added = parts["added_tokens"]
    parts |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    known = Tokenizer.from_str(json.dumps(parts))
    special = set(tokenizer.all_special_ids)
    for token in added:
        if _is_text(token["content"], token["special"]):
            parts["added_tokens"].append(token)
            continue
        special.add(token["id"])
        # Ids beyond the model's words are given in order: one left out would shift those behind it.
        if known.token_to_id(token["content"]) is None:
            # A name that no text can hold.
            parts["added_tokens"].append({**token, "content": secrets.token_hex(16)})
    return Tokenizer.from_str(json.dumps(parts)), frozenset(special - {tokenizer.unk_token_id})


def _is_text(content: str, special: bool) -> bool:
    return not content.strip() or not (special or content.strip()[0] in _MARKS)
