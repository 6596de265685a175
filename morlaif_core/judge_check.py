"""`check-judges`: asks the judges of a configuration about pairs whose winner is known, and probes what moves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import default_out, describe, load_run
from .config import load_config
from .errors import UserError, did_you_mean
from .progress import Screen
from .readiness import needed_by_judges
from .settings import CascadeSettings, PanelSettings
from .stages.context import LEDGER, Context
from .stages.judge import distinct, judged_principles, named_judges
from .stages.pairs import FILE, read_pairs
from .stages.pipeline import cost
from .store import MANIFEST, RunFolder
from .types import Principle, ResponsePair, content_hash

if TYPE_CHECKING:
    from .feedback.checked import Checked
    from .feedback.compound import Judge
    from .feedback.probes import Heard, Item
    from .feedback.tasks import Task, Verdict

ALONE = " (one by one)"
"""Behind the name of a judge that is asked all principles at once: the same, asked one by one."""


@contextmanager
def context_of(configs: Sequence[str], sets: Sequence[str], out: Path | None, screen: Screen) -> Iterator[Context]:
    """Hold the folder of a configuration (or one run's folder, given alone) while its judges are checked.

    Raises `UserError` for a configuration that does not hold, `Busy` for a folder in use.
    """
    if len(configs) == 1 and (Path(configs[0]) / MANIFEST).exists():
        if sets or out:
            raise UserError(f"{configs[0]} is a run with its own configuration; --set and --out go with a CONFIG")
        path = Path(configs[0])
        config = load_run(path).context().config
    else:
        config = load_config(configs, sets)
        path = out or default_out(config)
    folder = RunFolder.open(path)
    try:
        folder.manifest.update(describe(config) if "principles" not in folder.manifest else {})
        yield Context(config, folder, screen)
    finally:
        folder.close()


def check_judges(context: Context, only: Sequence[str] = (), own: int = 0) -> list[Checked]:
    """Check the judges that a configuration uses, and what these are made of, or those named.

    only: names under `judges`. own: how many of the run's own pairs are asked about too. Answers go into the run's
    ledger, so that the same check costs nothing again, and count for its budget. Raises `UserError`, and what
    `judge_tasks` raises.
    """
    asked = _principles_of(context, only)
    singles = sorted({single for name in asked for single in context.settings.singles_of(name)})
    missing = needed_by_judges(context.config, singles)
    if missing:
        raise UserError("needed before these judges can be asked:\n" + "\n".join(f"  {line}" for line in missing))
    pairs = _own_pairs(context, own)
    items = {name: _items(context, name, principles, pairs) for name, principles in asked.items()}
    items = {name: rows for name, rows in items.items() if rows}
    if not items:
        raise UserError(
            "the principles have no examples (`examples:` in their files); ask about the run's own: --pairs N"
        )
    heard, alone = _ask(context, items)
    if context.folder.section("results"):
        context.write_results(**cost(context))  # the check is part of what the run has spent
    return [_checked(context, name, heard, alone) for name in items]


def _principles_of(context: Context, only: Sequence[str]) -> dict[str, list[Principle]]:
    """What each judge is asked about: its principles in the run, those of the panels that it is in, else all it can."""
    settings = context.settings
    unknown = [name for name in only if name not in settings.judges]
    if unknown:
        near = did_you_mean(unknown[0], list(settings.judges))
        raise UserError(f"--judge: there is no judge '{unknown[0]}'.{near} Judges: {', '.join(settings.judges)}")
    found: dict[str, list[Principle]] = {}

    def add(judge: str, principle: Principle) -> None:
        if principle not in found.setdefault(judge, []):
            found[judge].append(principle)
        for member in settings.members_of(judge):
            add(member, principle)

    for principle in judged_principles(context):
        add(settings.judge_of(principle.name), principle)
        if settings.evaluation.judge:
            add(settings.evaluation.judge, principle)
    for judge in only:
        if judge not in found:
            for principle in context.config.principles:
                if _can(context, judge, principle):
                    add(judge, principle)
    wanted = [name for judge in only for name in (judge, *_below(context, judge))]
    return {name: principles for name, principles in found.items() if not only or name in wanted}


def _below(context: Context, judge: str) -> list[str]:
    """All judges that a judge is made of."""
    members = context.settings.members_of(judge)
    return [name for member in members for name in (member, *_below(context, member))]


def _can(context: Context, judge: str, principle: Principle) -> bool:
    """Say whether none of the judges that a judge is made of refuses a principle."""
    find, config = context.plugins.find, context.config
    for single in context.settings.singles_of(judge):
        block = config.judge_block(single)
        refuses = find("feedback_provider", block["use"]).refuses
        if refuses and refuses(context.plugins.options("feedback_provider", block), principle):
            return False
    return True


def _own_pairs(context: Context, n: int) -> list[ResponsePair]:
    """Draw n of the run's pairs by their hashes: the same in every check."""
    if n == 0:
        return []
    if not (context.path / FILE).exists():
        raise UserError(f"--pairs: {context.path} has no pairs yet; `morlaif run CONFIG --until sample` makes them")
    pairs = distinct(item.pair for item in read_pairs(context.path) if item.set != "evaluation")
    return sorted(pairs, key=lambda pair: content_hash("check", pair.id))[:n]


def _items(context: Context, judge: str, principles: Sequence[Principle], pairs: Sequence[ResponsePair]) -> list[Item]:
    from .feedback.probes import example_items, pair_items

    singles = context.settings.singles_of(judge)
    together = any(context.settings.judging_of(single).joint for single in singles)
    return [*example_items(principles, together=together), *pair_items(pairs, principles)]


def _ask(
    context: Context, items: Mapping[str, Sequence[Item]]
) -> tuple[dict[str, list[Heard]], dict[str, list[Verdict]]]:
    """Ask all judges all there is to ask, in both orders; those that are asked jointly one by one, too."""
    from .feedback.probes import Heard

    judges = {name: _thorough(judge) for name, judge in named_judges(context, items).items()}
    apart = {name + ALONE: _one_by_one(judge) for name, judge in judges.items() if _is_joint(judge) and name in items}
    sets = [(name, item, item.tasks(name)) for name, rows in items.items() for item in rows]
    tasks = [task for *_, probes in sets for task in probes.values()]
    twins = [replace(probes["base"], judge=name + ALONE) for name, _, probes in sets if name + ALONE in apart]
    said = iter(_judged(context, [*tasks, *twins], judges | apart))
    heard: dict[str, list[Heard]] = {name: [] for name in items}
    for name, item, probes in sets:
        answers = dict(zip(probes, said, strict=False))
        heard[name].append(Heard(item, answers))
    return heard, {name: [next(said) for _ in items[name]] for name in items if name + ALONE in apart}


def _thorough(judge: Judge) -> Judge:
    """A judge that answers now, and in both orders: without them its bias cannot be told from its preference."""
    from .feedback.tasks import NamedJudge

    if not isinstance(judge, NamedJudge):
        return judge
    return replace(judge, judging=judge.judging.model_copy(update={"orders": "both", "batch": False}))


def _is_joint(judge: Judge) -> bool:
    from .feedback.tasks import NamedJudge

    return isinstance(judge, NamedJudge) and judge.judging.joint


def _one_by_one(judge: Any) -> Judge:
    twin: Judge = replace(judge, name=judge.name + ALONE, judging=judge.judging.model_copy(update={"joint": False}))
    return twin


def _judged(context: Context, tasks: Sequence[Task], judges: Mapping[str, Judge]) -> list[Verdict]:
    from .feedback.judging import judge_tasks

    with context.screen.bar("check") as bar:
        return judge_tasks(
            tasks,
            judges,
            ledger=context.path / LEDGER,
            seed=context.settings.seed_of("judge"),
            progress=bar.judged,
            budget=context.settings.budget,
            run=context.run_id,
            ledgers=context.ledgers,
        )


def _checked(
    context: Context, judge: str, heard: Mapping[str, Sequence[Heard]], alone: Mapping[str, Sequence[Verdict]]
) -> Checked:
    from .feedback.agreement import one_family
    from .feedback.cascade import replay
    from .feedback.checked import checked, joint_agreement
    from .feedback.statistics import panel_agreement

    block, rows = context.settings.judges[judge], heard[judge]
    base = [item.base for item in rows]
    pairs = {item.item.pair.id: item.item.pair for item in rows}
    joint = joint_agreement(rows, alone[judge]) if judge in alone else None
    if isinstance(block, PanelSettings):
        family = one_family({single: _model(context, single) for single in context.settings.singles_of(judge)})
        return checked(judge, rows, kind="panel", panel=panel_agreement(base, pairs), family=family)
    if isinstance(block, CascadeSettings):
        said = {name: [item.base for item in heard[name]] for name in block.cascade}
        replays = {f"{one} > {other}": replay(said[one], said[other]) for one, other in pairwise(block.cascade)}
        return checked(judge, rows, kind="cascade", replays=replays)
    return checked(judge, rows, model=_model(context, judge), joint=joint)


def _model(context: Context, judge: str) -> str:
    """The model's name in the configuration, the provider's where it names none."""
    block = context.config.judge_block(judge)
    model = getattr(context.plugins.options("feedback_provider", block), "model", None)
    return str(model["use"] if isinstance(model, dict) else model or block["use"])
