"""Requests, tokens, money and time of a run's judges, before anything is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from morlaif_core import Judge, JudgeBench, NamedJudge, Panel, PlannedJudge, Principle

from .forecast import Forecast, forecast
from .load import Load, Share, load
from .power import smallest_share

Asked = Mapping[str, dict[str, tuple[Principle, bool]]]
"""Single judge -> principle -> itself, and whether it is asked in any case."""


def estimate(bench: JudgeBench) -> dict[str, Any]:
    """Foresee a run whose folder need not be there; nothing is sent or written. Raises `UserError`.

    Returns `rows` (a stage and a judge each), `total`, `pairs`, `smallest_difference`, `budget` and `notes`. Token
    numbers are estimates but for `prompt_tokens_at_most` and `output_tokens`, which are bounds; USD is null where a
    price is not known. What the ledgers hold is taken off.
    """
    foreseen, settings = forecast(bench), bench.settings
    judges = {judge: bench.planned_judge(judge) for judge in settings.asked_singles}
    rows = []
    for stage, shares in (("judge", foreseen.judge), ("evaluate", foreseen.evaluate)):
        asked = _asked(bench, stage)
        rows += [_row(stage, judges[name], shares, of, settings.seed_of("judge")) for name, of in asked.items()]
    notes = [judge.note for judge in judges.values() if judge.note]
    return {
        "rows": rows,
        "total": _total(rows),
        "pairs": {"judge": _pairs(foreseen.judge), "evaluate": _pairs(foreseen.evaluate)},
        "smallest_difference": _smallest(foreseen),
        "budget": settings.budget.model_dump(),
        "spent_usd": bench.spent_usd,
        "notes": [*foreseen.assumed, *notes, *bench.unpriced().values()],
    }


def _asked(bench: JudgeBench, stage: str) -> Asked:
    found: dict[str, dict[str, tuple[Principle, bool]]] = {}
    settings = bench.settings
    # The scores of some are given: only the evaluation judges them.
    for principle in bench.judged_principles if stage == "evaluate" else bench.learned_principles:
        judge = (settings.evaluation.judge if stage == "evaluate" else None) or settings.judge_of(principle.name)
        for single, sure in _certain(bench.judges([judge]), judge).items():
            found.setdefault(single, {})[principle.name] = (principle, sure)
    return found


def _certain(judges: Mapping[str, Judge], name: str) -> dict[str, bool]:
    """The single judges of a judge, and whether each is asked in any case: a cascade's later ones may not be."""
    judge = judges[name]
    if isinstance(judge, NamedJudge):
        return {name: True}
    found: dict[str, bool] = {}
    for place, member in enumerate(judge.members):
        # A panel asks all its members, a cascade its first one.
        sure = place == 0 or isinstance(judge, Panel)
        for single, certain in _certain(judges, member).items():
            found[single] = found.get(single, False) or (certain and sure)
    return found


def _row(
    stage: str, judge: PlannedJudge, shares: Iterable[Share], asked: dict[str, tuple[Principle, bool]], seed: int
) -> dict[str, Any]:
    counted = load(judge, shares, asked, seed)
    batch = judge.judging.batch
    return {
        "stage": stage,
        "judge": judge.name,
        "mode": judge.asking.mode,
        "requests": round(counted.requests),
        "requests_at_least": round(counted.sure),
        "answered_before": round(counted.known),
        "prompt_tokens": round(counted.prompt),
        "prompt_tokens_at_most": round(counted.most),
        "cacheable_tokens": round(counted.cacheable),
        "output_tokens": round(counted.output),
        "usd": counted.cost(judge, batch=batch),
        "usd_at_most": counted.cost(judge, most=True, batch=batch),
        "usd_cached": counted.cost(judge, cached=True, batch=batch),
        "usd_batch": counted.cost(judge, batch=True),
        "minutes": _minutes(judge, counted),
    }


def _minutes(judge: PlannedJudge, counted: Load) -> float | None:
    """How long the configured limits make it take; None where there are none."""
    limits = (
        (judge.judging.requests_per_minute, counted.requests),
        (
            judge.judging.tokens_per_minute,
            counted.prompt + counted.output,
        ),
    )
    times = [units / limit for limit, units in limits if limit is not None]
    return max(times, default=None)


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over judges and stages; null where one is not known. Judges of a stage work side by side."""
    counts = ("requests", "requests_at_least", "answered_before", "prompt_tokens", "prompt_tokens_at_most")
    money = ("usd", "usd_at_most", "usd_cached", "usd_batch")
    found: dict[str, Any] = {
        key: sum(row[key] for row in rows) for key in (*counts, "cacheable_tokens", "output_tokens")
    }
    for key in money:
        found[key] = None if any(row[key] is None for row in rows) else sum(row[key] for row in rows)
    # The slowest judge of each stage: judges work side by side, stages one after the other.
    by_stage = [max((row["minutes"] or 0 for row in rows if row["stage"] == name), default=0) for name in _stages(rows)]
    return found | {"minutes": sum(by_stage) or None}


def _stages(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["stage"] for row in rows))


def _pairs(shares: Iterable[Share]) -> int:
    return round(sum(len(share.pairs) * share.times for share in shares))


def _smallest(foreseen: Forecast) -> dict[str, Any]:
    """The win rate and the accuracy of a preference model that can be told from 0.5: see `smallest_share`."""
    sizes = {"win_rate": foreseen.evaluation, "pm_accuracy": foreseen.validation}
    return {name: {"prompts": n, "least": smallest_share(n)} for name, n in sizes.items()}
