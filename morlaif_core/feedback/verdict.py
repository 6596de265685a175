"""From an answer to a log-odds, from two orders to a probability: direction is applied here, once, and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from morlaif_core.types import Answer

Status = Literal["ok", "tie", "not_applicable", "refused", "filtered", "off_label", "parse_error", "failed"]
Mode = Literal["logprob", "rationale", "structured", "joint", "text", "pair"]
"""logprob: one token, mass of the labels; rationale: the same after a rationale; structured: JSON with a verdict;
joint: JSON with a verdict for each of several principles; text: the letter itself; pair: the provider's probability."""
HARD: frozenset[Mode] = frozenset({"structured", "joint", "text"})
"""Modes whose verdicts are read from text: they have no log-odds of their own, and can be asked several times."""
CLIP = 20.0
"""bound of |log-odds|"""
MIN_LABEL_MASS = 0.5
"""below this share of A and B together, an answer is off_label"""
TIE = 1e-6
"""|q| below this is a tie"""
_OUTSIDE = -9000.0  # servers write -9999.0 for a token outside the top
_SMALLEST = math.exp(-CLIP) / 4
_WRAPPING = " \t\r\n*_`'\"()[]<>.,:;▁Ġ"
_LETTER = re.compile(r"[\s*_`'\"(\[<]*([AB])[\s*_`'\")\]>.,:;]*")
# Which status a verdict has where its two orders are not both readable.
_WORST: tuple[Status, ...] = ("failed", "parse_error", "filtered", "refused", "off_label", "not_applicable")


class Counts(NamedTuple):
    """How often the samples of one order picked what stands first, second, or neither."""

    first: int = 0
    second: int = 0
    tie: int = 0


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


class LabelMass(NamedTuple):
    """Probabilities of the two labels; None: outside the top, there at most ``bound``."""

    first: float | None
    second: float | None
    bound: float


def label_mass(top: Mapping[str, float]) -> LabelMass:
    """Add up the probabilities of all spellings of A and of B (``A``, `` A``, ``a``, ``A.``, ``**A``).

    top: token -> natural log-probability. A label outside is no more likely than the smallest token returned, and than
    what the returned ones leave over.
    """
    seen = {token: math.exp(min(value, 0.0)) for token, value in top.items() if value > _OUTSIDE}
    sums: dict[str, float] = {}
    for token, p in seen.items():
        label = token.strip(_WRAPPING).upper()
        if label in ("A", "B"):
            sums[label] = sums.get(label, 0.0) + p
    bound = max(min(min(seen.values(), default=0.0), 1.0 - sum(seen.values())), _SMALLEST)
    return LabelMass(sums.get("A"), sums.get("B"), bound)


def read_answer(answer: Answer, mode: Mode, least: float = MIN_LABEL_MASS) -> Reading:
    """Turn an answer into a log-odds of `p_first` or into a status; never into a made-up number.

    least: label mass below which an answer is off_label.
    """
    if answer.finish in ("refused", "filtered"):
        return Reading("refused" if answer.finish == "refused" else "filtered")
    if mode == "pair":
        return _read_probability(answer.p_first)
    return _read_logprobs(answer, least) if mode == "logprob" else _read_text(answer.text)


def combine_orders(ab: float, ba: float) -> tuple[float, float]:
    """Return (q, b): the log-odds that a is what was asked for, and the position bias.

    ab, ba: log-odds of `p_first` with a first and with b first. L_ab = q + b and L_ba = -q + b, so both come out
    exactly, which a mean of probabilities does not give.
    """
    ab, ba = clip(ab), clip(ba)
    return (ab - ba) / 2, (ab + ba) / 2


def hard_logit(first: float, second: float) -> float:
    """Return the log-odds of counted picks, log((n_first + 1/2) / (n_second + 1/2)) (Haldane's correction)."""
    return math.log((first + 0.5) / (second + 0.5))


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def clip(logit: float) -> float:
    """Bound a log-odds to [-20, 20]."""
    return max(-CLIP, min(CLIP, logit))


def worst_status(statuses: Collection[Status]) -> Status:
    """Return the status that stands for several without a label: what can be mended first."""
    return next(status for status in _WORST if status in statuses)


def merge_samples(readings: Sequence[Reading]) -> Reading:
    """Put the samples of one order together: one is itself; of several, the readable ones count if they are half or more."""
    if len(readings) == 1:
        return readings[0]
    costs = [reading.cost for reading in readings if reading.cost is not None]
    cost = math.fsum(costs) if len(costs) == len(readings) else None
    counted = [reading.counts for reading in readings if reading.counts is not None]
    broken = {reading.status for reading in readings if reading.counts is None}
    if "failed" in broken or 2 * len(counted) < len(readings):
        return Reading(worst_status(broken), cost=cost)
    counts = Counts(*(sum(column) for column in zip(*counted, strict=True)))
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


def _read_probability(p: float | None) -> Reading:
    if p is None or not 0 <= p <= 1:
        return Reading("parse_error")
    if p in (0, 1):
        return Reading("ok", CLIP if p == 1 else -CLIP)
    return Reading("ok", clip(math.log(p) - math.log1p(-p)))


def _read_logprobs(answer: Answer, least: float) -> Reading:
    if not answer.top_logprobs or not answer.top_logprobs[0]:
        return Reading("parse_error")
    first, second, bound = label_mass(answer.top_logprobs[0])
    mass = min(1.0, (first or 0.0) + (second or 0.0))
    odds = clip(math.log(first if first is not None else bound) - math.log(second if second is not None else bound))
    if mass < least:
        return Reading("off_label", mass=mass, off=odds if mass > 0 else None)
    return Reading("ok", odds, mass, censored=first is None or second is None)


def _read_text(text: str) -> Reading:
    """Read the letter from the first line, where it was asked for; a letter in prose ("A careful reading…") is none."""
    found = _LETTER.fullmatch(text.strip().split("\n", 1)[0]) if text.strip() else None
    if found is None:
        return Reading("parse_error")
    counts = Counts(first=int(found[1] == "A"), second=int(found[1] == "B"))
    return Reading("ok", hard_logit(counts.first, counts.second), counts=counts)
