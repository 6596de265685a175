"""What is known of a judge, as arrays: what it said of pairs in both orders, and to probes that should not move it.

What is missing is NaN, so that no figure counts it as a tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from morlaif_core import Doubles, Figure, Places, spread

Probe = Literal["padded", "injected", "repeated", "rephrased"]
PROBES: tuple[Probe, ...] = ("padded", "injected", "repeated", "rephrased")
MOVING: tuple[Probe, ...] = ("padded", "injected")
"""Probes that change one answer of the pair, the target; the others change what is asked, or nothing."""


@dataclass(frozen=True, eq=False)
class Said:
    """What a judge said of n pairs. p: P(the target is preferred), q: its log-odds; NaN without a label; (n,).

    Both are after `picks`. From verdicts read from text, p is the share of picks over both orders, and q says nothing.
    """

    p: Doubles
    q: Doubles


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known of a judge, on n pairs in both orders.

    prompts: (n,), which pairs hang together. base: what it said of the pairs themselves. probes: the same for each
    probe that was made. first: (n, 2), log-odds of `p_first` with a first and with b first, before `picks`, those of
    off_label answers too; NaN where there are none. off: (n,), whether one of these is of an off_label answer.
    counts: (n, 2, 2), picks of first and second in either order, of verdicts read from text; None in other modes.
    mass: (n, 2), label mass, NaN where there is none. winner: (n,), 1 where the target is known to be the better
    answer, 0 where the other is, NaN where nobody knows. statuses: how many pairs have which.
    """

    prompts: Places
    base: Said
    winner: Doubles
    first: Doubles
    off: Doubles
    mass: Doubles
    counts: Doubles | None = None
    probes: Mapping[Probe, Said] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompts)


def right(evidence: Evidence) -> tuple[Doubles, Places]:
    """Return 1, 0 or, for a tie, 1/2 for each labelled pair with a known winner, and these pairs' prompts."""
    known = ~np.isnan(evidence.winner) & ~np.isnan(evidence.base.p)
    p, winner = evidence.base.p[known], evidence.winner[known]
    return np.where(p == 0.5, 0.5, (p > 0.5) == (winner > 0.5)), evidence.prompts[known]


def bias_rows(evidence: Evidence) -> tuple[Doubles, Places]:
    """Return the bias of each pair with log-odds in both orders, and these pairs' prompts."""
    both = ~np.isnan(evidence.first).any(axis=1)
    return evidence.first[both].mean(axis=1), evidence.prompts[both]


def lift(
    evidence: Evidence, probe: Probe, unit: Literal["p", "q"], beyond: Probe | None = None
) -> tuple[Doubles, Places]:
    """Return how much more a probe's target is liked, pair by pair where both have a label, and the pairs' prompts.

    beyond: another probe to compare with, in place of the pair itself.
    """
    against = evidence.base if beyond is None else evidence.probes[beyond]
    change: Doubles = getattr(evidence.probes[probe], unit) - getattr(against, unit)
    both = ~np.isnan(change)
    return change[both], evidence.prompts[both]


def ratio_figure(above: Doubles, below: Doubles, prompts: Places) -> Figure:
    """Return sum(above) / sum(below) of rows (n,), sum(below) > 0, with Student's interval of the linearised ratio.

    The ratio is that of two distances, or their difference: it is at most 2, and so is the interval's upper end.
    """
    ratio = float(above.sum() / below.sum())
    known = spread(above - ratio * below, prompts)
    if known.freedom < 1:
        return Figure(ratio)
    reach = known.reach / float(below.mean())
    return Figure(ratio, ratio - reach, min(2.0, ratio + reach))


@dataclass(frozen=True, eq=False)
class Shares:
    """Rows of a ratio: sum(above) / sum(below); (m,) each, with their prompts."""

    above: Doubles
    below: Doubles
    prompts: Places

    def beyond(self, bound: float) -> float:
        """Return the p-value of the ratio being above a bound."""
        rows = self.above - bound * self.below
        # `spread` takes residuals, which sum to 0.
        known = spread(rows - rows.mean(), self.prompts)
        return known.above(float(rows.mean()))

    @property
    def figure(self) -> Figure:
        """The ratio with its interval."""
        return ratio_figure(self.above, self.below, self.prompts)


def noise_rows(evidence: Evidence) -> Shares | None:
    """Return the noise share, what two askings of the same differ by: (x - x')^2 over x^2 + x'^2; None: all tie."""
    if "repeated" not in evidence.probes:
        return None
    x, again = 2 * evidence.base.p - 1, 2 * evidence.probes["repeated"].p - 1
    return _shares((x - again) ** 2, x**2 + again**2, evidence.prompts)


def wording_rows(evidence: Evidence) -> Shares | None:
    """Return the wording share: what another phrasing differs by beyond what asking again does; None: all tie."""
    if "rephrased" not in evidence.probes:
        return None
    x, other = 2 * evidence.base.p - 1, 2 * evidence.probes["rephrased"].p - 1
    again = 2 * evidence.probes["repeated"].p - 1 if "repeated" in evidence.probes else x
    # Less the noise, or a judge that answers by chance would seem to follow the wording.
    return _shares((x - other) ** 2 - (x - again) ** 2, x**2 + other**2, evidence.prompts)


def _shares(above: Doubles, below: Doubles, prompts: Places) -> Shares | None:
    both = ~np.isnan(above + below)
    if not below[both].any():
        return None
    return Shares(above[both], below[both], prompts[both])
