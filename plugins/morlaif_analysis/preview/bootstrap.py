"""Intervals of means over prompts, by bootstrap: one set of draws for all columns, so that they are paired.

Leaves out: the correction for bias and skewness (BCa), because it takes the square of the prompts in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from morlaif_core import Doubles

DRAWS = 1000
AT_ONCE = 100
"""Draws that lie in memory together: 100 x prompts numbers."""


def intervals(values: Doubles, seed: int, draws: int = DRAWS) -> Doubles | None:
    """Return the 95 % percentile interval of each column's mean over rows that are drawn with replacement.

    Args:
        values: (m, c), a row a prompt.
        seed: of the draws.
        draws: how many.

    Returns:
        (c, 2), low and high; None where there are fewer than two rows.
    """
    m = len(values)
    if m < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [_counts(rng, min(AT_ONCE, draws - start), m) @ values / m for start in range(0, draws, AT_ONCE)]
    )
    ends: Doubles = np.quantile(means, [0.025, 0.975], axis=0).T
    return ends


def _counts(rng: np.random.Generator, draws: int, m: int) -> Doubles:
    """How often each of m rows is drawn: (draws, m); times the values, this is the sum of a draw."""
    # Each draw in a range of numbers of its own, so that one bincount counts all draws.
    drawn = rng.integers(m, size=(draws, m)) + m * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * m).reshape(draws, m).astype(np.float64)
