"""What a cascade would have said and cost at other bounds: replayed from verdicts that are there, without a call.

Leaves out: cascades of three and more as a whole: members that follow each other are replayed two by two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from morlaif_core import ResponsePair, Verdict, cost_of, unsure

ALWAYS = 40.0
"""Log-odds beyond any verdict's."""
BOUNDS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, ALWAYS)
"""Log-odds: P of 0.5 (never), 0.56, 0.62, 0.73, 0.82, 0.88, 0.95, and beyond the largest one (always)."""


class Replayed(NamedTuple):
    """A cascade at one bound.

    asked: share of the pairs that go to the strong judge, in [0, 1]. agreement: share of the pairs whose verdict is the
    strong judge's own, a tie against a winner half; None where the strong judge has none. cost: USD, None where a price
    is not known. longer: the share of pairs where the cascade names the longer response (characters) minus the strong
    judge's, ties half: the taste for length that is left; None where no pair of unequal length has both labels.
    """

    below: float
    asked: float
    agreement: float | None
    cost: float | None
    longer: float | None = None


def replay(
    cheap: Sequence[Verdict],
    strong: Sequence[Verdict],
    bounds: Sequence[float] = BOUNDS,
    pairs: Mapping[str, ResponsePair] | None = None,
) -> list[Replayed]:
    """Return what a cascade of two judges does at each bound `below`, exactly, on the pairs that both judged.

    Verdicts are joined by pair and principle; those of which one failed are left out: they have not been judged. pairs:
    by id, for `longer`.
    """
    known = {(item.pair, item.principle): item for item in strong if item.status != "failed"}
    both = [
        (item, known[item.pair, item.principle])
        for item in cheap
        if item.status != "failed" and (item.pair, item.principle) in known
    ]
    return [_at(both, below, pairs or {}) for below in bounds] if both else []


def _at(both: Sequence[tuple[Verdict, Verdict]], below: float, pairs: Mapping[str, ResponsePair]) -> Replayed:
    # The core's own rule, so that a replay is what a cascade would have done.
    asked = [unsure(cheap, below) for cheap, _ in both]
    said = [(strong if ask else cheap, strong) for ask, (cheap, strong) in zip(asked, both, strict=True)]
    hits = [_agree(verdict, strong) for verdict, strong in said if strong.q is not None or _not_applicable(strong)]
    used = [
        item
        for ask, (cheap, strong) in zip(asked, both, strict=True)
        for item in ((cheap, strong) if ask else (cheap,))
    ]
    excess = [
        (_sign(verdict.q) - _sign(strong.q)) * length / 2
        for verdict, strong in said
        if verdict.q is not None and strong.q is not None and (length := _longer(pairs.get(verdict.pair)))
    ]
    return Replayed(below, sum(asked) / len(both), _mean(hits), cost_of(used), _mean(excess))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _longer(pair: ResponsePair | None) -> float:
    """1 where a is the longer response, -1 where b is, 0 where neither or not known."""
    return _sign(len(pair.a) - len(pair.b)) if pair else 0.0


def _sign(q: float) -> float:
    return math.copysign(1, q) if q else 0.0


def _not_applicable(verdict: Verdict) -> bool:
    return verdict.status == "not_applicable"


def _agree(verdict: Verdict, strong: Verdict) -> float:
    """1 where both say the same, 1/2 where one ties, else 0; no label of the cheap judge agrees with nothing."""
    if verdict.q is None or strong.q is None:
        return float(verdict.status == strong.status)
    signs = [_sign(q) for q in (verdict.q, strong.q)]
    return 1.0 if signs[0] == signs[1] else 0.5 if 0 in signs else 0.0
