"""From readings to a verdict: samples and orders are put together; direction is applied here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from morlaif_core.feedback.types import Counts, Status

CLIP = 20.0
"""bound of |log-odds|"""
TIE = 1e-6
"""|q| below this is a tie"""
# Which status a verdict has where its two orders have no label both: what can be mended first; "does not apply" comes
# last, so that a pair is not applicable where one order says so and the other picks or says so too.
_WORST: tuple[Status, ...] = ("failed", "parse_error", "filtered", "refused", "off_label", "not_applicable")


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer, or all samples of one order, read.

    logit: log-odds of `p_first`, before `picks`, in [-20, 20]; None where there is no label. mass: probability of the
    labels together. off: log-odds of an off_label answer, for the checks of a judge alone. counts: of verdicts read from
    text. cost: USD; None where no price is known.
    """

    status: Status
    logit: float | None = None
    mass: float | None = None
    censored: bool = False
    off: float | None = None
    counts: Counts | None = None
    cost: float | None = None


def combine_orders(ab: float, ba: float) -> tuple[float, float]:
    """Return (q, b): the log-odds that a is what was asked for, and the position bias.

    ab, ba: log-odds of `p_first` with a first and with b first. L_ab = q + b and L_ba = -q + b, so both come out
    exactly, which a mean of probabilities does not give. Leaves out: a bias that depends on the answers, which two
    numbers cannot tell from q; the confidence that a structured answer states, which is only kept.
    """
    # Before they are combined: an infinite side would leave nothing of the other.
    ab, ba = clip(ab), clip(ba)
    return (ab - ba) / 2, (ab + ba) / 2


def hard_logit(first: float, second: float) -> float:
    """Return the log-odds of counted picks, log((n_first + 1/2) / (n_second + 1/2)) (Haldane's correction)."""
    # The half keeps it finite where all samples pick one side, and small where there are few.
    return math.log((first + 0.5) / (second + 0.5))


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    # exp of -1000 is 0, of 1000 an error: the exponent is never above 0.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def clip(logit: float) -> float:
    """Bound a log-odds to [-20, 20]."""
    return max(-CLIP, min(CLIP, logit))


def with_mass(reading: Reading, least: float) -> Reading:
    """Return a kept reading as a run reads it that asks for this label mass; the answer does not depend on it.

    An off_label answer of enough mass becomes a label where its log-odds are known.
    """
    if reading.mass is None or (reading.status == "ok") == (reading.mass >= least):
        return reading
    if reading.status == "ok":
        return replace(reading, status="off_label", logit=None, off=reading.logit)
    if reading.status == "off_label" and reading.off is not None:
        return replace(reading, status="ok", logit=reading.off, off=None)
    return reading


def worst_status(statuses: Collection[Status]) -> Status:
    """Return the status that stands for several without a label: what can be mended first."""
    return next(status for status in _WORST if status in statuses)


def merge_samples(readings: Sequence[Reading]) -> Reading:
    """Put the samples of one order together; one is itself.

    Picks are counted where half of the samples or more could be read. "Does not apply" can be read, and holds where
    more samples say so than pick. One that failed is asked again, and until then the order has failed.
    """
    if len(readings) == 1:
        return readings[0]
    costs = [reading.cost for reading in readings if reading.cost is not None]
    cost = math.fsum(costs) if len(costs) == len(readings) else None
    picks = [reading.counts for reading in readings if reading.counts is not None]
    neither = sum(reading.status == "not_applicable" for reading in readings)
    broken = {reading.status for reading in readings if reading.counts is None} - {"not_applicable"}
    # A failed sample is asked again: a verdict now would be another one after that.
    if "failed" in broken or 2 * (len(picks) + neither) < len(readings):
        return Reading(worst_status(broken), cost=cost)
    if neither > len(picks):
        return Reading("not_applicable", cost=cost)
    counts = Counts(*(sum(column) for column in zip(*picks, strict=True)))
    return Reading("ok", hard_logit(counts.first, counts.second), counts=counts, cost=cost)


class Decision(NamedTuple):
    """What a pair's readings say. q: log-odds that a is better, after `picks`; bias before it."""

    status: Status
    p_a: float | None = None
    q: float | None = None
    bias: float | None = None


def decide(ab: Reading | None, ba: Reading | None, picks: Literal["better", "worse"]) -> Decision:
    """Combine the readings of a pair; None: that order was not asked (then the bias is unknown and stays in q)."""
    asked = [reading for reading in (ab, ba) if reading is not None]
    if not asked:
        raise ValueError("a pair needs a reading in one order at least")
    broken = {reading.status for reading in asked if reading.logit is None}
    if broken:
        return Decision(worst_status(broken))
    bias: float | None = None
    if ab is not None and ba is not None:
        q, bias = combine_orders(_logit(ab), _logit(ba))
    else:
        q = _logit(ab) if ab is not None else -_logit(asked[0])
    if abs(q) < TIE:
        return Decision("tie", 0.5, 0.0, bias)
    q = -q if picks == "worse" else q
    return Decision("ok", sigmoid(q), q, bias)


def _logit(reading: Reading) -> float:
    assert reading.logit is not None
    return clip(reading.logit)
