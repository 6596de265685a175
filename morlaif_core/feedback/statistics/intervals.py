"""Intervals of means, shares and ratios over rows that hang together: rows of one prompt are not independent."""

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
TINY = 1e-12


class Figure(NamedTuple):
    """A number with its 95 % interval; None: cannot be had.

    Attributes:
        mean: the number.
        low, high: the ends.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None

    @property
    def ci95(self) -> list[float | None] | None:
        """Both ends, None where there is neither."""
        return None if self.low is None and self.high is None else [self.low, self.high]


class Spread(NamedTuple):
    """How exactly a mean is known.

    Attributes:
        error: its standard error.
        freedom: degrees of freedom, below 1 where unknown.
    """

    error: float
    freedom: int

    @property
    def reach(self) -> float:
        """Half the width of Student's 95 % interval."""
        return student(self.freedom, 0.95) * self.error

    def above(self, distance: float) -> float:
        """Return the P-value that a mean lies above a bound.

        distance: by how much it exceeds the bound (below 0: it does not).
        """
        from scipy import special

        if self.freedom < 1:
            return 1.0
        if self.error < TINY:
            return 0.0 if distance > TINY else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))


def number_prompts(names: Sequence[Hashable]) -> Places:
    """Number the prompts of n rows from 0: (n,).

    names: each row's prompt, anything that can be compared.

    >>> number_prompts(["tea", "rain", "tea"]).tolist()
    [0, 1, 0]
    """
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
    """Return the spread of a mean.

    The sandwich over prompts, sqrt(G / (G - 1) sum_g (sum of g's residuals)^2) / n, with G - 1 degrees of freedom
    (Liang and Zeger 1986); one row a prompt gives the usual standard error.

    residuals: (n,) of the rows; they sum to 0. prompts: (n,) which prompt a row is of.

    >>> spread(np.array([-1.0, 0.0, 1.0]), np.arange(3)).freedom
    2
    """
    sums = by_prompt(residuals, prompts)
    groups = len(sums)
    if groups < 2:
        return Spread(math.inf, 0)
    return Spread(math.sqrt(groups / (groups - 1) * float(sums @ sums)) / len(residuals), groups - 1)


def mean_figure(
    values: Doubles, prompts: Places, level: float = 0.95, *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Figure:
    """Return the mean of rows (n,), n > 0, with Student's interval over prompts; one prompt has none.

    values: (n,). prompts: (n,) which prompt a row is of. level: of the interval. within: the range of the rows, which
    Student's interval does not know, and no end of it leaves.

    >>> mean_figure(np.array([1.0, 2.0, 3.0]), np.arange(3)).mean
    2.0
    """
    # fsum, so that the order of the rows cannot change the last digit of a report.
    mean = math.fsum(values) / len(values)
    known = spread(values - mean, prompts)
    if known.freedom < 1:
        return Figure(mean)
    reach = student(known.freedom, level) * known.error
    return Figure(mean, max(within[0], mean - reach), min(within[1], mean + reach))


def share_figure(hits: Doubles, prompts: Places, level: float = 0.95) -> Figure:
    """Return the mean of rows in [0, 1] (n,), n > 0, with Wilson's interval for the effective number of rows.

    hits: (n,). prompts: (n,) which prompt a row is of. level: of the interval.

    >>> [round(end, 3) for end in share_figure(np.array([1.0, 0.0, 1.0, 1.0]), np.arange(4))]
    [0.75, 0.301, 0.954]
    """
    mean = math.fsum(hits) / len(hits)
    return Figure(mean, *wilson(mean, effective_rows(hits, prompts, level), level))


def effective_rows(hits: Doubles, prompts: Places, level: float = 0.95) -> float:
    """Return how many independent yes-or-no rows are worth as much as these rows (n,) in [0, 1].

    p (1 - p) / variance of p, both with half a row of 0 and half a row of 1 added, so that a few rows that differ from
    many ties do not pass for exact. Unless each prompt has one win, tie or loss: corrected for few prompts by (z / t)^2
    (Korn and Graubard 1998). Where no prompt differs from the mean, the number of prompts, which is the least that they
    can be worth.

    hits: (n,) in [0, 1]. prompts: (n,) which prompt a row is of. level: of the interval that they are for.

    >>> effective_rows(np.array([1.0, 0.0, 1.0, 1.0]), np.arange(4))
    4.0
    """
    n, groups = len(hits), len(np.unique(prompts))
    known = spread(hits - hits.mean(), prompts)
    if known.freedom < 1 or known.error < TINY:
        return float(groups)
    share = (float(hits.sum()) + 0.5) / (n + 1)
    residuals = by_prompt(hits - share, prompts)
    squares = float(residuals @ residuals) + 0.5 * (share**2 + (1 - share) ** 2)
    worth = share * (1 - share) * n * (n + 1) / squares
    # The variance of a win, tie or loss is bounded by p (1 - p); that of a prompt's sum or mean is only estimated.
    if groups == n and np.isin(hits, (0.0, 0.5, 1.0)).all():
        return worth
    return worth * (groups - 1) / groups * (normal(level) / student(groups - 1, level)) ** 2


def normal(level: float) -> float:
    """Return the normal quantile that bounds a two-sided interval of this level, in (0, 1)."""
    from scipy import special

    return float(special.ndtri((1 + level) / 2))


def student(freedom: int, level: float) -> float:
    """Return Student's quantile that bounds a two-sided interval of this level, in (0, 1)."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + level) / 2))


def wilson(mean: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share of n (Wilson 1927)."""
    z = normal(level)
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At a share of 0 or 1 rounding may step over the end.
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(sums: Doubles, statistic: Callable[[Doubles], Doubles]) -> tuple[float, float] | None:
    """Return the BCa interval (Efron 1987) of a statistic of added-up prompts, None where it does not vary.

    sums: (G, c), what each prompt adds. statistic: (m, c) totals -> (m,). Prompts are drawn from a fixed seed; a draw
    in which the statistic is undefined counts as the estimate itself. Leaves out: a correction for looking at many at
    once; the intervals of means and shares have one by their level.
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
