"""Judges made of judges: a panel asks all its members, a cascade the next one only where the one before is unsure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, TypeAlias

from morlaif_core.feedback.types import NamedJudge, Status, Task, Verdict

from .verdict import TIE, hard_logit, sigmoid, worst_status

Find: TypeAlias = Callable[[Task], Verdict | None]
"""The verdict on a task, None where it has not been judged yet."""


@dataclass(frozen=True)
class Panel:
    """Several judges asked the same. Made by `JudgeBench.judges`.

    Attributes:
        name: as under `judges`.
        members: their names.
        quorum: members with a label that a verdict needs.
        combine: how their log-odds become one.
    """

    name: str
    members: tuple[str, ...]
    quorum: int
    combine: Literal["median", "mean_logit", "majority"] = "median"


@dataclass(frozen=True)
class Cascade:
    """Judges from cheap to strong: the next is asked where the one before is `unsure`; the last one asked decides.
    Made by `JudgeBench.judges`.

    Attributes:
        name: as under `judges`.
        members: their names, in order.
        below: a bound of |log-odds|, as `unsure` takes it.
    """

    name: str
    members: tuple[str, ...]
    below: float


Judge: TypeAlias = NamedJudge | Panel | Cascade


def leaves(name: str, judges: Mapping[str, Judge]) -> list[str]:
    """Return the names of the single judges below a judge, each once, in order."""
    judge = judges[name]
    if isinstance(judge, NamedJudge):
        return [name]
    return list(dict.fromkeys(leaf for member in judge.members for leaf in leaves(member, judges)))


def wanted(task: Task, judges: Mapping[str, Judge], find: Find) -> list[Task]:
    """Return the tasks of single judges that a task needs next: none once it can be decided."""
    judge = judges[task.judge]
    if isinstance(judge, NamedJudge):
        return [] if find(task) else [task]
    members = [replace(task, judge=name) for name in judge.members]
    # All members at once, as none depends on what another says; a cascade asks one after the other.
    if isinstance(judge, Panel):
        return [leaf for member in members for leaf in wanted(member, judges, find)]
    for member in members:
        missing = wanted(member, judges, find)
        if missing:
            return missing
        if not unsure(verdict_on(member, judges, find), judge.below):
            return []
    return []


def verdict_on(task: Task, judges: Mapping[str, Judge], find: Find) -> Verdict:
    """Return the verdict on a task whose leaves have all been judged (`wanted` is empty)."""
    judge = judges[task.judge]
    if isinstance(judge, NamedJudge):
        found = find(task)
        # For the type checker: the caller has asked `wanted` first.
        assert found is not None
        return found
    members = []
    for name in judge.members:
        members.append(verdict_on(replace(task, judge=name), judges, find))
        if isinstance(judge, Cascade) and not unsure(members[-1], judge.below):
            break
    if isinstance(judge, Cascade):
        return replace(members[-1], judge=judge.name, mode="cascade", members=tuple(members), cost=cost_of(members))
    return _panel_verdict(task, judge, members)


def unsure(verdict: Verdict, below: float) -> bool:
    """Say whether a cascade asks its next judge: the answer was none, or not sure enough.

    "Does not apply" is an answer. What failed is asked of the same judge again, not of a dearer one.

    verdict: of the judge before. below: the bound of its |log-odds|.

    >>> from morlaif_core import Verdict
    >>> unsure(Verdict("pair", "calm", "a", "ok", p_a=0.6, q=0.4), below=1.0)
    True
    """
    if verdict.q is None:
        return verdict.status not in ("failed", "not_applicable")
    # q is free of position bias, so a judge that always names the first is unsure here, as it should be.
    return abs(verdict.q) < below


def singles_in(verdict: Verdict) -> Iterator[Verdict]:
    """Yield the verdicts of single judges that a verdict is made of; itself where it is one."""
    if not verdict.members:
        yield verdict
    for member in verdict.members:
        yield from singles_in(member)


def incomplete(verdict: Verdict) -> bool:
    """Say whether a verdict, or one that it is made of, failed: its requests are asked again by the next run."""
    return verdict.status == "failed" or any(incomplete(member) for member in verdict.members)


def _panel_verdict(task: Task, panel: Panel, members: Sequence[Verdict]) -> Verdict:
    """Combine the members' verdicts; its position bias is the members' own.

    Fewer labels than the quorum: no label, with what most of the others say. Leaves out: weights of members, since there
    is no truth to fit them to; errors that members share stay in the mean.
    """
    voting = [member.q for member in members if member.q is not None]
    blank = Verdict(
        pair=task.pair.id,
        principle=task.principle.name,
        judge=panel.name,
        status="failed",
        mode="panel",
        members=tuple(members),
        cost=cost_of(members),
    )
    if len(voting) < panel.quorum:
        return replace(blank, status=_without_quorum(members))
    q = _COMBINED[panel.combine](voting)
    if abs(q) < TIE:
        return replace(blank, status="tie", p_a=0.5, q=0.0)
    return replace(blank, status="ok", p_a=sigmoid(q), q=q)


def _without_quorum(members: Sequence[Verdict]) -> Status:
    """A member that failed is asked again; else what most members without a label say, the worst where they are level."""
    statuses = [member.status for member in members if member.q is None]
    if "failed" in statuses:
        return "failed"
    counts = Counter(statuses)
    most = max(counts.values())
    return worst_status({status for status, count in counts.items() if count == most})


def _mean(qs: Sequence[float]) -> float:
    """Return the mean log-odds, which one member that overstates how sure it is rules."""
    return math.fsum(qs) / len(qs)


def _majority(qs: Sequence[float]) -> float:
    """Return the log-odds of counted votes, a tie half a vote for each side."""
    # hard_logit, as for samples: a unanimous panel of three must not read as certainty.
    halves = sum(abs(q) <= TIE for q in qs) / 2
    return hard_logit(sum(q > TIE for q in qs) + halves, sum(q < -TIE for q in qs) + halves)


_COMBINED: dict[str, Callable[[Sequence[float]], float]] = {
    # Of two members, the median is the mean. It depends on this pair alone, so that a label stays as pairs are added.
    "median": median,
    "mean_logit": _mean,
    "majority": _majority,
}


def cost_of(verdicts: Iterable[Verdict]) -> float | None:
    """Return what verdicts cost together, USD; a judge asked once for several of them counts once. None: not known.

    verdicts: of any judges.

    >>> from morlaif_core import Verdict
    >>> cost_of([Verdict("pair", "calm", "a", "tie", cost=0.25), Verdict("pair", "calm", "b", "tie", cost=None)])
    """
    # A judge that is a member of two panels was asked, and paid, once.
    singles = {
        (item.judge, item.pair, item.principle): item.cost for verdict in verdicts for item in singles_in(verdict)
    }
    costs = [cost for cost in singles.values() if cost is not None]
    return math.fsum(costs) if len(costs) == len(singles) else None
