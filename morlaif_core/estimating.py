"""`estimate`: requests, tokens, money and time of a run's judges, before anything is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .config import Config
from .errors import UserError
from .feedback.estimate import Foreseen, Load, Share, load
from .feedback.looping import run_draining
from .feedback.power import smallest_share
from .feedback.requests import asking_of
from .feedback.spending import answered_keys, spent_by
from .forecast import Forecast, forecast
from .prices import price_of, unpriced
from .progress import Screen
from .protocols import FeedbackProvider
from .settings import PanelSettings, Settings
from .stages.context import LEDGER, Context
from .stages.judge import judged_principles
from .store import RunFolder, read_manifest
from .types import Capabilities, Principle

Asked = Mapping[str, dict[str, tuple[Principle, bool]]]
"""Single judge -> principle -> itself, and whether it is asked in any case."""


def estimate(config: Config, out: Path) -> dict[str, Any]:
    """Foresee a run in a folder, which need not be there; nothing is sent or written. Raises `UserError`.

    Returns `rows` (a stage and a judge each), `total`, `pairs`, `smallest_difference`, `budget` and `notes`. Token
    numbers are estimates but for `prompt_tokens_at_most` and `output_tokens`, which are bounds; USD is null where a
    price is not known. What the ledgers hold is taken off.
    """
    context = Context(config, RunFolder(out, read_manifest(out), writable=False), Screen(quiet=True))
    foreseen, notes = forecast(context), list[str]()
    judges = {judge: _judge(context, judge, notes) for judge in config.settings.asked_singles}
    rows = []
    for stage, shares in (("judge", foreseen.judge), ("evaluate", foreseen.evaluate)):
        asked = _asked(config.settings, judged_principles(context), stage)
        rows += [_row(stage, judges[name], shares, of, config.settings) for name, of in asked.items()]
    return {
        "rows": rows,
        "total": _total(rows),
        "pairs": {"judge": _pairs(foreseen.judge), "evaluate": _pairs(foreseen.evaluate)},
        "smallest_difference": _smallest(foreseen),
        "budget": config.settings.budget.model_dump(),
        "spent_usd": spent_by(context.run_id, context.ledgers).usd,
        "notes": [*foreseen.assumed, *notes, *unpriced(config).values()],
    }


def _judge(context: Context, name: str, notes: list[str]) -> Foreseen:
    """A judge as it will be asked; it is built only where its ledger may hold answers, whose keys name its model."""
    settings, block = context.settings, context.config.judge_block(name)
    component, judging = context.plugins.find("feedback_provider", block["use"]), settings.judging_of(name)
    answered, identity, can = answered_keys(Path(judging.ledger or context.path / LEDGER)), "", None
    if component.capabilities is not None:
        can = component.capabilities(context.plugins.options("feedback_provider", block))
    if answered or can is None:
        try:
            identity, can = run_draining(lambda: _looked_at(context, name))
        except UserError as error:
            if can is None:
                raise UserError(f"judges.{name}: what it can do is known only once it is built: {error}") from None
            notes.append(f"judge '{name}': what its ledger holds is not taken off, since it cannot be built: {error}")
            answered = set()
    try:
        asking = asking_of(can, judging)
    except UserError as error:
        raise UserError(f"judges.{name}: {error}") from None
    return Foreseen(name, asking, judging, price_of(context.config, name), identity, answered)


async def _looked_at(context: Context, name: str) -> tuple[str, Capabilities]:
    provider: FeedbackProvider = context.build_judge(name)
    try:
        return provider.identity, provider.capabilities
    finally:
        close = getattr(provider, "aclose", None)
        if close is not None:
            await close()


def _asked(settings: Settings, principles: Iterable[Principle], stage: str) -> Asked:
    found: dict[str, dict[str, tuple[Principle, bool]]] = {}
    for principle in principles:
        judge = (settings.evaluation.judge if stage == "evaluate" else None) or settings.judge_of(principle.name)
        for single, sure in _certain(settings, judge).items():
            found.setdefault(single, {})[principle.name] = (principle, sure)
    return found


def _certain(settings: Settings, judge: str) -> dict[str, bool]:
    """The single judges of a judge, and whether each is asked in any case: a cascade's later ones may not be."""
    members = settings.members_of(judge)
    if not members:
        return {judge: True}
    found: dict[str, bool] = {}
    for place, member in enumerate(members):
        sure = place == 0 or isinstance(settings.judges[judge], PanelSettings)
        for single, certain in _certain(settings, member).items():
            found[single] = found.get(single, False) or (certain and sure)
    return found


def _row(
    stage: str, judge: Foreseen, shares: Iterable[Share], asked: dict[str, tuple[Principle, bool]], settings: Settings
) -> dict[str, Any]:
    counted = load(judge, shares, asked, settings.seed_of("judge"))
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
        "usd": counted.cost(judge.price, batch=batch),
        "usd_at_most": counted.cost(judge.price, most=True, batch=batch),
        "usd_cached": counted.cost(judge.price, cached=True, batch=batch),
        "usd_batch": counted.cost(judge.price, batch=True),
        "minutes": _minutes(judge, counted),
    }


def _minutes(judge: Foreseen, counted: Load) -> float | None:
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
