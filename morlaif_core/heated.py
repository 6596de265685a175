"""A scalarizer whose temperature follows a schedule: `Heated`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .protocols import Scalarizer
from .schedules import Schedule
from .types import Floats, ScoreMatrix, Terms


class Heated:
    """A scalarizer that is built anew with the temperature of each step.

    Args:
        build: makes the scalarizer of a temperature.
        schedule: the temperature over the steps, `Terms.step`.
    """

    def __init__(self, build: Callable[[float], Scalarizer], schedule: Schedule) -> None:
        self.schedule = schedule
        self._build = lru_cache(maxsize=2)(build)

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32 at the step of the terms."""
        return self._build(self.schedule.at(terms.step))(scores, terms)
