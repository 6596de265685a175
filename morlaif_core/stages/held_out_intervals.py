"""95 % intervals of what is measured on held-out prompts: Wilson's, or whole prompts resampled from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from morlaif_core.types import Doubles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draws: TypeAlias = NDArray[np.int64]

RESAMPLES = 2000


def resampled_interval(n: int, statistic: Callable[[Draws], Doubles]) -> list[float]:
    """Return the percentile interval of a statistic over n rows; draws in which it is NaN do not count.

    statistic: row numbers (RESAMPLES, n), drawn with replacement -> (RESAMPLES,). The seed is fixed, so that a report
    made again says the same.
    """
    import numpy as np

    draws = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
    return [float(bound) for bound in np.nanpercentile(statistic(draws), [2.5, 97.5])]


def mean_interval(values: Doubles) -> list[float]:
    """Return the interval of the mean of one value a prompt, (n,)."""
    return resampled_interval(len(values), lambda draws: values[draws].mean(axis=1))


def share_interval(right: Doubles, prompts: Sequence[str]) -> list[float]:
    """Return the interval of a share: Wilson's; by bootstrap over prompts where one has several rows, which hang together.

    right: (n,) in [0, 1]. prompts: (n,) ids.
    """
    import numpy as np
    from scipy.stats import binomtest

    names, place = np.unique(np.array(prompts), return_inverse=True)
    if len(names) == len(prompts):
        # round: equal scores count half, so the sum may end in one half.
        wilson = binomtest(round(float(right.sum())), len(right)).proportion_ci(method="wilson")
        return [float(wilson.low), float(wilson.high)]
    total, count = np.bincount(place, right), np.bincount(place)
    return resampled_interval(len(names), lambda draws: total[draws].sum(axis=1) / count[draws].sum(axis=1))
