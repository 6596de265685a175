"""Asks the judges of a configuration about pairs whose winner is known, and probes what moves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeGuard

from morlaif_core import (
    Cascade,
    Judge,
    JudgeBench,
    NamedJudge,
    Panel,
    Principle,
    ResponsePair,
    UserError,
    Verdict,
    content_hash,
    did_you_mean,
    distinct_pairs,
    panel_agreement,
)

from .families import one_family
from .probes import Heard, Item, example_items, pair_items
from .replay import replay
from .results import Checked, checked, joint_agreement

ALONE = " (one by one)"
"""Behind the name of a judge that is asked all principles at once: the same, asked one by one."""


def check_judges(bench: JudgeBench, only: Sequence[str] = (), own: int = 0) -> list[Checked]:
    """Check the judges that a configuration uses, and what these are made of, or those named.

    only: names under `judges`. own: how many of the run's own pairs are asked about too. Answers go into the run's
    ledger, so that the same check costs nothing again, and count for its budget. Raises `UserError`, and what
    `JudgeBench.ask` raises.
    """
    asked = _principles_of(bench, only)
    bench.check_ready(asked)
    pairs = _own_pairs(bench, own)
    items = {name: _items(bench, name, principles, pairs) for name, principles in asked.items()}
    items = {name: rows for name, rows in items.items() if rows}
    if not items:
        raise UserError(
            "the principles have no examples (`examples:` in their files); ask about the run's own: --pairs N"
        )
    heard, alone = _ask(bench, items)
    return [_checked(bench, name, heard, alone) for name in items]


def _principles_of(bench: JudgeBench, only: Sequence[str]) -> dict[str, list[Principle]]:
    """What each judge is asked about: its principles in the run, those of the panels that it is in, else all it can."""
    settings = bench.settings
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

    for principle in bench.judged_principles:
        add(settings.judge_of(principle.name), principle)
        if settings.evaluation.judge:
            add(settings.evaluation.judge, principle)
    for judge in only:
        if judge not in found:
            for principle in bench.principles:
                if bench.refusal(judge, principle) is None:
                    add(judge, principle)
    wanted = [name for judge in only for name in (judge, *_below(bench, judge))]
    return {name: principles for name, principles in found.items() if not only or name in wanted}


def _below(bench: JudgeBench, judge: str) -> list[str]:
    """All judges that a judge is made of."""
    members = bench.settings.members_of(judge)
    return [name for member in members for name in (member, *_below(bench, member))]


def _own_pairs(bench: JudgeBench, n: int) -> list[ResponsePair]:
    """Draw n of the run's pairs by their hashes: the same in every check."""
    if n == 0:
        return []
    # Not those of the evaluation: a judge is chosen by this check, and the last prompts choose nothing.
    pairs = distinct_pairs(item.pair for item in bench.stored_pairs() if item.set != "evaluation")
    return sorted(pairs, key=lambda pair: content_hash("check", pair.id))[:n]


def _items(bench: JudgeBench, judge: str, principles: Sequence[Principle], pairs: Sequence[ResponsePair]) -> list[Item]:
    singles = bench.settings.singles_of(judge)
    together = any(bench.settings.judging_of(single).joint for single in singles)
    return [*example_items(principles, together=together), *pair_items(pairs, principles)]


def _ask(
    bench: JudgeBench, items: Mapping[str, Sequence[Item]]
) -> tuple[dict[str, list[Heard]], dict[str, list[Verdict]]]:
    """Ask all judges everything, in both orders; those that are asked jointly are asked one by one as well."""
    judges = {name: _thorough(judge) for name, judge in bench.judges(items).items()}
    apart = {name + ALONE: _one_by_one(judge) for name, judge in judges.items() if _is_joint(judge) and name in items}
    sets = [(name, item, item.tasks(name)) for name, rows in items.items() for item in rows]
    tasks = [task for *_, probes in sets for task in probes.values()]
    twins = [replace(probes["base"], judge=name + ALONE) for name, _, probes in sets if name + ALONE in apart]
    said = iter(bench.ask([*tasks, *twins], judges | apart, "check"))
    heard: dict[str, list[Heard]] = {name: [] for name in items}
    for name, item, probes in sets:
        # `probes` first and not strict: zip stops at its end before it takes an answer of the next set.
        answers = dict(zip(probes, said, strict=False))
        heard[name].append(Heard(item, answers))
    return heard, {name: [next(said) for _ in items[name]] for name in items if name + ALONE in apart}


def _thorough(judge: Judge) -> Judge:
    """A judge that answers now, and in both orders: without them its bias cannot be told from its preference."""
    if not isinstance(judge, NamedJudge):
        return judge
    asked = judge.judging.model_copy(update={"orders": "both", "batch": False})
    # Not stopped where it gives no labels: why it gives none is what the check says.
    return replace(judge, judging=asked, stops=False)


def _is_joint(judge: Judge) -> TypeGuard[NamedJudge]:
    return isinstance(judge, NamedJudge) and judge.judging.joint


def _one_by_one(judge: NamedJudge) -> NamedJudge:
    return replace(judge, name=judge.name + ALONE, judging=judge.judging.model_copy(update={"joint": False}))


def _checked(
    bench: JudgeBench, judge: str, heard: Mapping[str, Sequence[Heard]], alone: Mapping[str, Sequence[Verdict]]
) -> Checked:
    asked, rows = bench.judges([judge])[judge], heard[judge]
    base = [item.base for item in rows]
    pairs = {item.item.pair.id: item.item.pair for item in rows}
    joint = joint_agreement(rows, alone[judge]) if judge in alone else None
    if isinstance(asked, Panel):
        family = one_family({single: bench.model(single) for single in bench.settings.singles_of(judge)})
        return checked(judge, rows, kind="panel", panel=panel_agreement(base, pairs), family=family)
    if isinstance(asked, Cascade):
        said = {name: [item.base for item in heard[name]] for name in asked.members}
        replays = {
            f"{one} > {other}": replay(said[one], said[other], pairs=pairs) for one, other in pairwise(asked.members)
        }
        return checked(judge, rows, kind="cascade", replays=replays)
    return checked(judge, rows, model=bench.model(judge), joint=joint)
