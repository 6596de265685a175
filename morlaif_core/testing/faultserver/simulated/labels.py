"""Tokens and their probabilities at the place where a verdict stands, and elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from .asking import Position

Spellings = Sequence[tuple[str, float]]
"""(shape with {} for the label, its share of the label's probability); shares sum to 1; the first is what is written."""
SPELLINGS: Spellings = (("{}", 0.9), (" {}", 0.08), ("**{}", 0.02))
ODD_SPELLINGS: Spellings = (
    ("**{}", 0.3), (" {}", 0.2), ("({}", 0.15), ("{}.", 0.15), ("Ġ{}", 0.1), ("▁{}", 0.05), ("\n{}", 0.05)
)  # fmt: skip
# With three spellings of A and B each, 20 in all: as many as servers list, so that the odds can be read exactly.
_OTHERS = ("The", "I", "Both", "Neither", "Response", "It", "Answer", "As", "\n", "1", "2", "C", "This", "Sure")
_WORDS = re.compile(r"\n|\s?[^\s:]+|:|\s+")


def label_tokens(
    labels: Mapping[str, float], mass: float = 0.98, spellings: Spellings = SPELLINGS
) -> list[tuple[str, float]]:
    """Spread probability over the spellings of labels (their shares sum to 1) and, what mass leaves, over other tokens.

    Returns (token, natural log-probability), likeliest first; the probabilities sum to 1.
    """
    tokens: dict[str, float] = {}
    for label, share in labels.items():
        for shape, part in spellings:
            token = shape.format(label)
            tokens[token] = tokens.get(token, 0.0) + share * mass * part
    others = [token for token in _OTHERS if token not in labels]
    tokens |= {token: (1 - mass) / len(others) for token in others}
    listed = [(token, math.log(p)) for token, p in tokens.items() if p > 0]
    return sorted(listed, key=lambda item: -item[1])


def after_space(spellings: Spellings) -> Spellings:
    """Return spellings as they are after "Verdict:": each with a space before it."""
    return tuple((" " + shape.lstrip(), part) for shape, part in spellings)


def words(text: str) -> list[str]:
    """Cut prose into tokens that join to the text again."""
    return _WORDS.findall(text)


def plain(token: str, top: int) -> Position:
    """Return a position in prose: a token that was likely, and a few others."""
    likeliest = [(token, math.log(0.9)), *((other, math.log(0.01)) for other in (" the", " it", " this", "\n"))]
    return Position(token, likeliest[0][1], likeliest[:top])
