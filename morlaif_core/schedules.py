"""Numbers that change over the training steps: weights, thresholds, a scalarizer's temperature."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from .options import Options


class Schedule(Options):
    """A number that changes over the training steps, between given points."""

    shape: Literal["linear", "cosine", "piecewise"] = Field(
        "linear", description="between two points: a line, half a cosine, or the earlier value until the later step"
    )
    points: tuple[tuple[Annotated[int, Field(ge=0)], float], ...] = Field(
        min_length=1, description="[step, value] in the order of steps; before the first and after the last: constant"
    )

    @field_validator("points")
    @classmethod
    def _in_order(cls, points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
            raise ValueError("steps must grow from point to point")
        return points

    def at(self, step: int) -> float:
        """The value at a step."""
        before = [point for point in self.points if point[0] <= step]
        after = [point for point in self.points if point[0] > step]
        if not before or not after:
            return (before[-1] if before else after[0])[1]
        (start, low), (end, high) = before[-1], after[0]
        share = (step - start) / (end - start)
        if self.shape == "piecewise":
            return low
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return low + (high - low) * share
