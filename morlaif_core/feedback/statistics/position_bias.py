"""The position bias of verdicts read from text, from how often both orders pick what stands in the same place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from morlaif_core.types import Doubles

from .intervals import TINY, Figure, Places, normal, spread, student

SHOWN = 0.7
"""The least share of a mean bias that flips show where the pairs' biases differ with a deviation of 1 (normal, log-odds).

Pairs whose own bias is small or reversed flip more evenly. The share is 0.70 to 0.78 for mean biases up to 2 and answers
from level to far apart, 0.90 to 0.93 at a deviation of 0.5 (simulated); single verdicts do not tell the deviation."""
LEAST_RARE = 5
"""Fewer pairs that flip to the rarer side (the usual least count of a cell) leave the bias unbounded on the far side."""


@dataclass(frozen=True)
class HardBias:
    """The share of flips that name the first, as a Beta distribution: b = logit(share) / 2. Made by `hard_bias`.

    Attributes:
        first, second: flips, in pairs that are worth as much.
        rare: pairs (at most) that flip to the rarer side.
    """

    first: float
    second: float
    rare: int

    @property
    def figure(self) -> Figure:
        """b with its interval; an end that the data do not bound is None, and so is a b that is infinite.

        b is that of one bias for all pairs, the interval Jeffreys', with the ends away from 0 moved on by 1 / `SHOWN`, so
        that it also holds the mean of biases that differ from pair to pair with a deviation up to 1.
        """
        from scipy import special

        ends = special.betaincinv(self.first + 0.5, self.second + 0.5, [0.025, 0.975])
        low, high = (_half_logit(float(end)) for end in ends)
        low, high = min(low, low / SHOWN), max(high, high / SHOWN)
        # JSON has no infinity, and "at least so much" is said by the other end.
        mean = self.estimate if math.isfinite(self.estimate) else None
        if self.rare >= LEAST_RARE:
            return Figure(mean, low, high)
        return Figure(mean, low, None) if self.first > self.second else Figure(mean, None, high)

    @property
    def estimate(self) -> float:
        """b, infinite where all flips name one side."""
        if min(self.first, self.second) > 0:
            return _half_logit(self.first / (self.first + self.second))
        return math.copysign(math.inf, self.first - self.second)

    @property
    def note(self) -> str | None:
        """Why an end of the interval is missing."""
        if self.rare >= LEAST_RARE:
            return None
        often, seldom = ("first", "second") if self.first > self.second else ("second", "first")
        few = "no pair" if self.rare == 0 else f"{self.rare} pair{'s' if self.rare > 1 else ''} alone"
        return f"{few} named the {seldom} twice: the {often} is preferred at least so much, how much more is not known"


def hard_bias(counts: Doubles, prompts: Places) -> HardBias | None:
    """Estimate the position bias b of n pairs from picks; None where no pair names the same place in both orders.

    Within a pair, P(first in both orders) / P(second in both) = exp(2 b) whatever its answers are, so that
    b = log(sum n1 m1 / sum n2 m2) / 2 with n and m the picks of the two orders. The share of the first sum is given the
    effective number of flips by the spread of the prompts' contributions (Korn and Graubard 1998), then Jeffreys'
    interval (Brown, Cai and DasGupta 2001); for one sample an order and one pair a prompt that is the binomial one.

    counts: (n, 2, 2): by order, how many samples picked what stands first, and second; ties left out. prompts: (n,).

    >>> flips = np.array([[[1.0, 0.0], [1.0, 0.0]]] * 3 + [[[0.0, 1.0], [0.0, 1.0]]])
    >>> round(hard_bias(flips, np.arange(4)).figure.mean, 3)
    0.549
    """
    first, second = counts[:, 0, 0] * counts[:, 1, 0], counts[:, 0, 1] * counts[:, 1, 1]
    # All samples of one order against all of the other, so that none has to be chosen.
    flips = first + second
    held = flips > 0
    if not held.any():
        return None
    rare = int(min((first > 0).sum(), (second > 0).sum()))
    share = float(first.sum() / flips.sum())
    if share in (0.0, 1.0):
        # All flips name one side. Sample i of one order against sample i of the other: as many independent flips.
        samples = np.maximum(counts[held].sum(axis=2).mean(axis=1), 1)
        worth = float((flips[held] / samples).sum())
    else:
        worth = _worth(first[held], flips[held], prompts[held], share)
    return HardBias(worth * share, worth * (1 - share), rare)


def _worth(first: Doubles, flips: Doubles, prompts: Places, share: float) -> float:
    """Return how many independent flips are worth as much as these sums.

    p (1 - p) / variance of p, corrected for few prompts by (z / t)^2 (Korn and Graubard 1998). Where no prompt differs
    from the mean, the number of prompts, which is the least that they can be worth.
    """
    known = spread(first - share * flips, prompts)
    error = known.error / float(flips.mean())
    if known.freedom < 1 or error < TINY:
        return float(len(np.unique(prompts)))
    fewer = (normal(0.95) / student(known.freedom, 0.95)) ** 2
    return share * (1 - share) / error**2 * fewer


def _half_logit(p: float) -> float:
    return 0.5 * (math.log(p) - math.log1p(-p))
