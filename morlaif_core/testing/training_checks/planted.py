"""Preferences whose reason is known: under each of two principles one word is much better, the other's word a little."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morlaif_core.types import Floats, Preference, Principle, Prompt

from .models import questions

PRINCIPLES = (
    Principle("warm", "Which response is warmer?"),
    Principle("calm", "Which response is calmer?"),
)
NAMES = ("warm", "calm")
WORDS = {"warm": ("gruff", "KIND"), "calm": ("NOISY", "still")}
"""Of each, the worse word and the better one: with few bytes in common, so that a tiny random model tells them apart."""
STRONG, FAINT = 0.95, 0.52
TRAINED, HELD_OUT = 64, 16
"""Pairs a principle."""


@dataclass(frozen=True)
class Plant:
    """Pairs by principle, and responses to other questions by which what was learnt is looked at."""

    train: dict[str, list[Preference]]
    held_out: dict[str, list[Preference]]
    prompts: list[Prompt]
    responses: list[str]

    def right(self, scores: Floats, word: str) -> float:
        """Return the share of differences (the better word less the worse, all else equal) that are above 0."""
        return float(np.mean(self._differences(scores, word) > 0))

    def margin(self, scores: Floats, word: str) -> float:
        """Return the mean difference that the better word makes, in size."""
        return abs(float(self._differences(scores, word).mean()))

    def _differences(self, scores: Floats, word: str) -> Floats:
        # Responses stand in the order of the bits of their two words, for one question after the other.
        return np.diff(scores.reshape(-1, 2, 2), axis=1 + NAMES.index(word)).ravel()


def planted() -> Plant:
    """Return the same preferences at every call."""
    trained, other = questions(), questions("What about {}?")[:8]
    sets = [{name: _preferences(name, prompts, count) for name in NAMES}
            for prompts, count in ((trained, TRAINED), (other, HELD_OUT))]  # fmt: skip
    rows = [(prompt, _response(bits)) for prompt in other for bits in np.ndindex(2, 2)]
    return Plant(sets[0], sets[1], [prompt for prompt, _ in rows], [text for _, text in rows])


def _preferences(name: str, prompts: list[Prompt], count: int) -> list[Preference]:
    """Return pairs of which half differ in the principle's word and half in the other one's, each in both orders."""
    draw, rows = random.Random(f"plant/{name}"), []
    for place in range(count // 2):
        differs, same = NAMES[:: 1 if place % 2 else -1]
        bit = draw.randrange(2)
        a, b = (_response([{differs: better, same: bit}[word] for word in NAMES]) for better in (1, 0))
        p_a = STRONG if differs == name else FAINT
        prompt = prompts[place % len(prompts)]
        rows += [Preference(prompt, a, b, p_a), Preference(prompt, b, a, 1 - p_a)]
    return rows


def _response(bits: Sequence[int]) -> str:
    # Thrice, since a model that reads the last token sees little of a single word before it.
    return " ".join(word for words, bit in zip(WORDS.values(), bits, strict=True) for word in [words[bit]] * 3)
