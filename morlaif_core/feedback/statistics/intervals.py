"""95 % intervals of means, shares and ratios over rows that hang together: rows of one prompt are not independent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morlaif_core.types import Doubles

Places = NDArray[np.intp]
RESAMPLES = 999
MANY = 1000
"""Prompts from which on the percentile interval stands for BCa, which takes their square in time and differs no more."""
_TINY = 1e-12


class Figure(NamedTuple):
    """A number with its 95 % interval; None: cannot be had."""

    mean: float | None
    low: float | None = None
    high: float | None = None

    @property
    def ci95(self) -> list[float | None] | None:
        """Both ends, None where there is neither."""
        return None if self.low is None and self.high is None else [self.low, self.high]


class Spread(NamedTuple):
    """How exactly a mean is known. error: its standard error; freedom: degrees of freedom, below 1 where unknown."""

    error: float
    freedom: int

    @property
    def reach(self) -> float:
        """Half the width of Student's 95 % interval."""
        from scipy import special

        return float(special.stdtrit(self.freedom, 0.975)) * self.error

    def above(self, distance: float) -> float:
        """P-value that a mean lies above a bound which it exceeds by this distance (below 0: it does not)."""
        from scipy import special

        if self.freedom < 1:
            return 1.0
        if self.error < _TINY:
            return 0.0 if distance > _TINY else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))


def number_prompts(names: Sequence[Hashable]) -> Places:
    """Number the prompts of n rows from 0: (n,)."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.intp)


def by_prompt(values: Doubles, prompts: Places) -> Doubles:
    """Add up rows (n,) or (n, c) by prompt: (G,) or (G, c), prompts without a row left out."""
    _, place = np.unique(prompts, return_inverse=True)
    sums = np.zeros((int(place.max(initial=-1)) + 1, *values.shape[1:]))
    # `sums[place] += values` would add only the last row of each prompt.
    np.add.at(sums, place, values)
    return sums


def spread(residuals: Doubles, prompts: Places) -> Spread:
    """Return the spread of a mean from the rows' residuals (n,), which sum to 0.

    The sandwich over prompts, sqrt(G / (G - 1) sum_g (sum of g's residuals)^2) / n, with G - 1 degrees of freedom
    (Liang and Zeger 1986); one row a prompt gives the usual standard error.
    """
    sums = by_prompt(residuals, prompts)
    groups = len(sums)
    if groups < 2:
        return Spread(math.inf, 0)
    return Spread(math.sqrt(groups / (groups - 1) * float(sums @ sums)) / len(residuals), groups - 1)


def mean_figure(values: Doubles, prompts: Places) -> Figure:
    """Return the mean of rows (n,), n > 0, with Student's interval over prompts; one prompt has none."""
    # fsum, so that the order of the rows cannot change the last digit of a report.
    mean = math.fsum(values) / len(values)
    known = spread(values - mean, prompts)
    return Figure(mean) if known.freedom < 1 else Figure(mean, mean - known.reach, mean + known.reach)


def share_figure(hits: Doubles, prompts: Places) -> Figure:
    """Return the mean of rows in [0, 1] (n,), n > 0, with Wilson's interval for the effective number of rows."""
    mean = math.fsum(hits) / len(hits)
    return Figure(mean, *wilson(mean, effective_rows(hits, prompts)))


def effective_rows(hits: Doubles, prompts: Places) -> float:
    """Return how many independent yes-or-no rows are worth as much as these rows (n,) in [0, 1]."""
    mean = float(hits.mean())
    return effective_number(mean, spread(hits - mean, prompts), len(np.unique(prompts)))


def effective_number(share: float, known: Spread, groups: int) -> float:
    """Return the sample size of an independent share that is known as exactly as this one of so many prompts.

    p (1 - p) / variance of p, corrected for few prompts by (z / t)^2 (Korn and Graubard 1998). Where no prompt differs
    from the mean, the number of prompts, which is the least that they can be worth.
    """
    from scipy import special

    if known.freedom < 1 or known.error < _TINY:
        return float(groups)
    fewer = (_NORMAL_975 / float(special.stdtrit(known.freedom, 0.975))) ** 2
    return share * (1 - share) / known.error**2 * fewer


def wilson(mean: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n (Wilson 1927)."""
    z2 = _NORMAL_975**2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_975 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At a share of 0 or 1 rounding may step over the end.
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(sums: Doubles, statistic: Callable[[Doubles], Doubles]) -> tuple[float, float] | None:
    """Return the BCa interval (Efron 1987) of a statistic of added-up prompts, None where it does not vary.

    sums: (G, c), what each prompt adds. statistic: (m, c) totals -> (m,). Prompts are drawn from a fixed seed; a draw
    in which the statistic is undefined counts as the estimate itself. Leaves out, as all intervals here: a correction for
    looking at many at once.
    """
    from scipy import stats

    if len(sums) < 3 or not np.ptp(sums, axis=0).any():
        return None
    point = statistic(sums.sum(axis=0, keepdims=True))

    def resampled(chosen: Any, axis: int) -> Doubles:
        drawn = np.atleast_2d(chosen.astype(np.intp))
        values = statistic(sums[drawn].sum(axis=1))
        return np.where(np.isnan(values), point, values).reshape(chosen.shape[:-1])

    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the caller says why there is no interval
        found = stats.bootstrap(
            # Numbers of prompts in place of data: a prompt is drawn with all that it adds.
            (np.arange(len(sums)),),
            resampled,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=100,  # bounds memory: all 999 draws at once would be 999 x prompts x columns
            method="BCa" if len(sums) < MANY else "percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return (float(found.low), float(found.high)) if np.isfinite([found.low, found.high]).all() else None


_NORMAL_975 = 1.959963984540054  # the 0.975 quantile of the standard normal
