"""What a cascade would have said and cost at other bounds: replayed from verdicts that are there, without a call.

Leaves out: cascades of three and more as a whole: members that follow each other are replayed two by two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from morlaif_core import Verdict, cost_of, unsure

ALWAYS = 40.0
"""Log-odds beyond any verdict's."""
BOUNDS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, ALWAYS)
"""Log-odds: P of 0.5 (never), 0.56, 0.62, 0.73, 0.82, 0.88, 0.95, and beyond the largest one (always)."""


class Replayed(NamedTuple):
    """A cascade at one bound.

    asked: share of the pairs that go to the strong judge, in [0, 1]. agreement: share of the pairs whose verdict is the
    strong judge's own, a tie against a winner half; None where the strong judge has none. cost: USD, None where a price
    is not known.
    """

    below: float
    asked: float
    agreement: float | None
    cost: float | None


def replay(cheap: Sequence[Verdict], strong: Sequence[Verdict], bounds: Sequence[float] = BOUNDS) -> list[Replayed]:
    """Return what a cascade of two judges does at each bound `below`, exactly, on the pairs that both judged.

    Verdicts are joined by pair and principle; those of which one failed are left out: they have not been judged.
    """
    known = {(item.pair, item.principle): item for item in strong if item.status != "failed"}
    pairs = [
        (item, known[item.pair, item.principle])
        for item in cheap
        if item.status != "failed" and (item.pair, item.principle) in known
    ]
    return [_at(pairs, below) for below in bounds] if pairs else []


def _at(pairs: Sequence[tuple[Verdict, Verdict]], below: float) -> Replayed:
    # The core's own rule, so that a replay is what a cascade would have done.
    asked = [unsure(cheap, below) for cheap, _ in pairs]
    said = [(strong if ask else cheap, strong) for ask, (cheap, strong) in zip(asked, pairs, strict=True)]
    hits = [_agree(verdict, strong) for verdict, strong in said if strong.q is not None or _not_applicable(strong)]
    used = [
        item
        for ask, (cheap, strong) in zip(asked, pairs, strict=True)
        for item in ((cheap, strong) if ask else (cheap,))
    ]
    return Replayed(below, sum(asked) / len(pairs), math.fsum(hits) / len(hits) if hits else None, cost_of(used))


def _not_applicable(verdict: Verdict) -> bool:
    return verdict.status == "not_applicable"


def _agree(verdict: Verdict, strong: Verdict) -> float:
    """1 where both say the same, 1/2 where one ties, else 0; no label of the cheap judge agrees with nothing."""
    if verdict.q is None or strong.q is None:
        return float(verdict.status == strong.status)
    signs = [math.copysign(1, q) if q else 0 for q in (verdict.q, strong.q)]
    return 1.0 if signs[0] == signs[1] else 0.5 if 0 in signs else 0.0
