"""The preference model `direct`: a measure of the judge `rules` as the score itself.

Leaves out: unit and tie band of a measure, which a judge needs to compare two responses: calibration sets the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from morlaif_core import Prompt, ScoreFunction

from .catalogue import lookup
from .embedding import MiniLM


def measured(term: str) -> ScoreFunction:
    """Return the function that scores responses by a measure such as ``brevity`` or ``-insults``."""
    sign, measure = lookup(term)
    rates = MiniLM().similarities if measure.rate is None else partial(_each, measure.rate)

    def score(prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        return [sign * value for value in rates(list(zip(prompts, responses, strict=True)))]

    return score


def _each(rate: Callable[[Prompt, str], float], items: Sequence[tuple[Prompt, str]]) -> list[float]:
    return [rate(*item) for item in items]
