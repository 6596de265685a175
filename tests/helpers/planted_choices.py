"""Planted human choices, and all that is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from morlaif_analysis.fit_weights.choices import Choices
from morlaif_analysis.fit_weights.findings import findings, recommended
from morlaif_analysis.fit_weights.measure import Plan, measure

NAMES = ("one", "two", "three", "four", "five", "six")


def planted(
    beta: Sequence[float], m: int, seed: int, *, soft: bool = False, per_prompt: int = 1, mix: float = 0.0
) -> Choices:
    """Choices of people who weigh differences by ``beta``; mix: how far the principles share what they measure."""
    generator = np.random.default_rng(seed)
    d = generator.normal(size=(m, len(beta))) + mix * generator.normal(size=(m, 1))
    chance = expit(d @ np.array(beta))
    p = chance if soft else (generator.random(m) < chance).astype(np.float64)
    return Choices(d, p, tuple(f"p{row // per_prompt}" for row in range(m)))


def report(choices: Choices, *, signed: bool = False) -> dict[str, Any]:
    """All numbers with what they say."""
    found = measure(choices, NAMES[: choices.differences.shape[1]], Plan(0, 200, 24, signed))
    return {**found, "findings": findings(found), "recommended": recommended(found)}
