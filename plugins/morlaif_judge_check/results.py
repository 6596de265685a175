"""What a check comes to for each judge: its figures, what is wrong with it, what its members have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morlaif_core import Figure, ResponsePair, Verdict, agreement_with_human, cohen_kappa, number_prompts, share_figure

from .grades import MIN_PAIRS, Judgement, judgements
from .measures import Measured, measure
from .probes import Heard, applying, evidence_of
from .replay import Replayed


@dataclass(frozen=True)
class Joint:
    """How far a judge that is asked all principles at once says what it says when asked one by one.

    same: share of equal verdicts (a, tie, b) over pairs and principles that both have a label for. kappa: of these.
    cost, alone: USD of the pairs asked jointly, and one by one.
    """

    n: int
    same: Figure | None
    kappa: Figure | None
    cost: float | None
    alone: float | None


@dataclass(frozen=True)
class Checked:
    """A judge, checked. by_principle: a judgement only where there are pairs enough.

    human: agreement with the labels of the run's own pairs. panel: how far members agree, and what they are worth.
    family: a warning where members are of one model family. replays: by two members that follow each other in a
    cascade, what other bounds would do.
    """

    judge: str
    kind: str
    model: str
    pooled: Measured
    judgement: Judgement
    by_principle: Mapping[str, tuple[Measured, Judgement | None]]
    cost: float | None
    human: Mapping[str, Any] | None = None
    panel: Mapping[str, Any] | None = None
    family: str | None = None
    replays: Mapping[str, Sequence[Replayed]] = field(default_factory=dict)
    joint: Joint | None = None


def checked(judge: str, heard: Sequence[Heard], *, kind: str = "judge", model: str = "", **more: Any) -> Checked:
    """Measure and judge what one judge said. heard: at least one item; more: the other fields of `Checked`.

    Pooled figures make one family of checks, those of all principles another.
    """
    # Where nothing applied at all, that is what the figures are to show.
    asked = applying(heard) or heard
    pooled = measure(evidence_of(asked))
    (judgement,) = judgements([pooled])
    grouped: dict[str, list[Heard]] = {}
    for item in asked:
        grouped.setdefault(item.item.principle.name, []).append(item)
    found = {name: measure(evidence_of(rows)) for name, rows in grouped.items()}
    # The others would show nothing, and each test more weakens those that can.
    enough = [name for name, measured in found.items() if measured.pairs >= MIN_PAIRS]
    judged = dict(zip(enough, judgements([found[name] for name in enough]), strict=True))
    pairs: dict[str, ResponsePair] = {item.item.pair.id: item.item.pair for item in heard}
    costs = [item.cost for item in heard]
    return Checked(
        judge,
        kind,
        model,
        pooled,
        judgement,
        {name: (measured, judged.get(name)) for name, measured in found.items()},
        None if None in costs else math.fsum(cost for cost in costs if cost is not None),
        human=agreement_with_human([item.base for item in heard], pairs, {}),
        **more,
    )


def joint_agreement(together: Sequence[Heard], alone: Sequence[Verdict]) -> Joint:
    """Compare joint verdicts with those of one principle a request, both on the same items in the same order."""
    rows = [
        (np.sign(heard.base.q), np.sign(verdict.q), heard.item.pair.prompt.id)
        for heard, verdict in zip(together, alone, strict=True)
        if heard.base.q is not None and verdict.q is not None
    ]
    costs = [[heard.base.cost for heard in together], [verdict.cost for verdict in alone]]
    cost, apart = (None if None in each else math.fsum(usd for usd in each if usd is not None) for each in costs)
    if not rows:
        return Joint(0, None, None, cost, apart)
    one, other, prompts = zip(*rows, strict=True)
    x, y, place = 1 + np.array(one, dtype=np.intp), 1 + np.array(other, dtype=np.intp), number_prompts(prompts)
    return Joint(len(rows), share_figure((x == y).astype(float), place), cohen_kappa(x, y, place), cost, apart)


def as_json(found: Checked) -> dict[str, Any]:
    """Return a checked judge as JSON: figures as {mean, ci95}, null where they cannot be had, the reason in `notes`."""
    return {
        "kind": found.kind,
        "model": found.model,
        "cost_usd": found.cost,
        **_judged(found.pooled, found.judgement),
        "principles": {name: _judged(*item) for name, item in found.by_principle.items()},
        "agreement_with_human": found.human,
        "panel": found.panel,
        "family": found.family,
        "replays": {name: [row._asdict() for row in rows] for name, rows in found.replays.items()},
        "joint": None if found.joint is None else {name: _shown(value) for name, value in vars(found.joint).items()},
    }


def _judged(measured: Measured, judgement: Judgement | None) -> dict[str, Any]:
    faults = [] if judgement is None else [fault._asdict() for fault in judgement.faults]
    hidden = ("evidence", "hard_bias")
    figures = {name: _shown(value) for name, value in vars(measured).items() if name not in hidden}
    return {"grade": judgement and judgement.grade, "faults": faults, **figures}


def _shown(value: Any) -> Any:
    if isinstance(value, Figure):
        return {"mean": value.mean, "ci95": value.ci95}
    if isinstance(value, Mapping):
        return {name: _shown(item) for name, item in value.items()}
    return value
