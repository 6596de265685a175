"""From tasks to requests: which orders and samples are asked, which principles share a request, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.types import Task
from morlaif_core.types import Principle, ResponsePair

from .keys import Keys
from .requests import Asking, Order, Work, orders_of, row_key
from .wordings import joint_order

Group: TypeAlias = list[Task]
"""Tasks that share their requests: about one pair, of different principles."""


BLOCK = 20_000
"""Groups planned together."""


class Planned(NamedTuple):
    """The row keys of a task in each order, one per sample; None: that order is not asked."""

    ab: tuple[str, ...] | None
    ba: tuple[str, ...] | None


class Asks(Protocol):
    """What planning has to know of a judge: an `ActiveJudge`, or one that nobody asks yet."""

    @property
    def identity(self) -> str: ...

    @property
    def asking(self) -> Asking: ...

    @property
    def judging(self) -> Judging: ...

    @property
    def provider(self) -> object: ...


def plan(tasks: Sequence[Task], judge: Asks, seed: int) -> tuple[dict[tuple[object, ...], Planned], list[Work]]:
    """Return the row keys of each task by its id, and the requests, equal ones once, in the order to be sent."""
    planned: dict[tuple[object, ...], Planned] = {}
    works: dict[str, Work] = {}
    for some, theirs in plan_blocks(tasks, judge, seed):
        planned |= some
        works |= theirs
    return planned, scheduled(works.values(), judge)


def plan_blocks(
    tasks: Sequence[Task], judge: Asks, seed: int
) -> Iterator[tuple[dict[tuple[object, ...], Planned], dict[str, Work]]]:
    """Yield the row keys of some tasks by their ids, and their requests by key, block by block.

    Who keeps only the requests that are to be sent never holds those of all tasks at once.
    """
    keys = Keys(judge.identity, judge.asking)
    groups = _groups(tasks, joint=keys.joint)
    for start in range(0, len(groups), BLOCK):
        yield _planned(groups[start : start + BLOCK], judge, seed, keys)


def _planned(
    groups: Sequence[Group], judge: Asks, seed: int, keys: Keys
) -> tuple[dict[tuple[object, ...], Planned], dict[str, Work]]:
    planned: dict[tuple[object, ...], Planned] = {}
    works: dict[str, Work] = {}
    for group in groups:
        principles = tuple(task.principle for task in group)
        asked: dict[Order, list[Work]] = {
            order: [_work(group[0].pair, principles, order, sample, keys) for sample in _samples(group[0], judge)]
            for order in _orders(group, judge, seed)
        }
        works.update((work.key, work) for of_order in asked.values() for work in of_order)
        for place, task in enumerate(group):
            rows = {order: tuple(work.rows[place] for work in of_order) for order, of_order in asked.items()}
            planned[task.id] = Planned(rows.get("ab"), rows.get("ba"))
    return planned, works


def _groups(tasks: Sequence[Task], *, joint: bool) -> list[Group]:
    """Bring the tasks of a pair together, so that its texts are rendered once for all principles.

    joint: into one group, each with the principles in the order drawn for the pair. A principle that is there twice
    (as where another question is tried under its name) begins a group of its own.
    """
    # Also where the caller's tasks go principle by principle: `Keys` keeps the texts of one pair at a time.
    pairs: dict[str, list[Task]] = {}
    for task in tasks:
        pairs.setdefault(task.pair.id, []).append(task)
    if not joint:
        return [[task] for of_pair in pairs.values() for task in of_pair]
    groups: dict[tuple[str, int, int], dict[str, Task]] = {}
    for of_pair in pairs.values():
        for task in of_pair:
            turn = 0
            while task.principle.name in groups.setdefault((task.pair.id, task.sample, turn), {}):
                turn += 1
            groups[task.pair.id, task.sample, turn][task.principle.name] = task
    return [
        [group[principle.name] for principle in joint_order([task.principle for task in group.values()], pair)]
        for (pair, _, _), group in groups.items()
    ]


def _orders(group: Group, judge: Asks, seed: int) -> tuple[Order, ...]:
    """Return the orders of a group; those of a joint request are drawn for the pair, not for one of its principles."""
    drawn_for = "" if judge.asking.mode == "joint" else group[0].principle.name
    return orders_of(group[0].pair.id, drawn_for, judge.judging.orders, seed)


def _samples(task: Task, judge: Asks) -> range:
    """Return the numbers of a task's samples; those of the same question asked anew come after the first ones."""
    n = judge.asking.samples
    return range(task.sample * n, (task.sample + 1) * n)


def _work(pair: ResponsePair, principles: tuple[Principle, ...], order: Order, sample: int, keys: Keys) -> Work:
    key = keys.key(pair, principles, order, sample)
    rows = tuple(row_key(key, principle.name) for principle in principles) if keys.joint else (key,)
    return Work(key, rows, pair, principles, order, sample)


def scheduled(works: Iterable[Work], judge: Asks) -> list[Work]:
    """Order requests so that prefix caches serve them: all principles of a pair share a prefix in each order.

    A local model takes them one after the other. A server has the prefix only once the first of them has been answered:
    the first goes out as many pairs ahead of the others as there are requests in flight.
    """
    pairs: dict[str, int] = {}
    seen: set[tuple[str, Order]] = set()
    # Only local models take many at once; one request after the other, each finds the prefix of the last.
    local = hasattr(judge.provider, "ask_many")
    placed = []
    for work in works:
        pair, prefix = pairs.setdefault(work.pair.id, len(pairs)), (work.pair.id, work.order)
        if local:
            placed.append(((pair, work.order == "ba"), work))
        else:
            ahead = judge.judging.concurrency if prefix not in seen else 0
            placed.append(((pair - ahead, not ahead), work))
        seen.add(prefix)
    # By place alone: works that tie keep their order, and cannot be compared.
    return [work for _, work in sorted(placed, key=lambda item: item[0])]
