"""Preferences whose reason is known: under each principle one word is better than another, and a third a little."""

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
WEAK = "weak"
WORDS = {"warm": ("gruff", "KIND"), "calm": ("NOISY", "still"), WEAK: ("8 9", "jazz")}
"""Of each, the worse word and the better one: with few bytes in common, so that a tiny random model tells them apart."""
STRONG, FAINT = 0.95, 0.55
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
        # Responses stand in the order of the bits of their three words, for one question after the other.
        axis = 1 + list(WORDS).index(word)
        return np.diff(scores.reshape(-1, 2, 2, 2), axis=axis).ravel()


def planted() -> Plant:
    """Return the same preferences at every call."""
    trained, other = questions(), questions("What about {}?")[:8]
    sets = [{name: _preferences(name, prompts, count) for name in NAMES}
            for prompts, count in ((trained, TRAINED), (other, HELD_OUT))]  # fmt: skip
    rows = [(prompt, _response(bits)) for prompt in other for bits in np.ndindex(2, 2, 2)]
    return Plant(sets[0], sets[1], [prompt for prompt, _ in rows], [text for _, text in rows])


def _preferences(name: str, prompts: list[Prompt], count: int) -> list[Preference]:
    """Return pairs of which half differ in the principle's word and half in the weak one, each in both orders."""
    draw, words, rows = random.Random(f"plant/{name}"), list(WORDS), []
    for place in range(count // 2):
        a, b = ([draw.randrange(2) for _ in words] for _ in range(2))
        main, weak = (words.index(name), words.index(WEAK))[:: 1 if place % 2 else -1]
        # What differs decides: the main word here is the one that the label is about.
        a[main], b[main], b[weak] = 1, 0, a[weak]
        p_a = STRONG if words[main] == name else FAINT
        prompt, texts = prompts[place % len(prompts)], (_response(a), _response(b))
        rows += [Preference(prompt, *texts, p_a), Preference(prompt, *texts[::-1], 1 - p_a)]
    return rows


def _response(bits: Sequence[int]) -> str:
    # Thrice, since a model that reads the last token sees little of a single word before it.
    return " ".join(word for words, bit in zip(WORDS.values(), bits, strict=True) for word in [words[bit]] * 3)
