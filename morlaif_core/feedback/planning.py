"""From tasks to requests: which orders and samples are asked, which principles share a request, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from .requests import Order, build_request, orders_of, request_key
from .rows import Work
from .tasks import Task

if TYPE_CHECKING:
    from .lanes import Lane

Planned: TypeAlias = dict[Order, tuple[str, ...]]
"""The row keys of a task: for each order asked, one per sample."""


def plan(tasks: Sequence[Task], lane: Lane, seed: int) -> tuple[dict[tuple[object, ...], Planned], list[Work]]:
    """Return the row keys of each task by its id, and the requests, equal ones once, in the order to be sent."""
    planned: dict[tuple[object, ...], Planned] = {}
    works: dict[str, Work] = {}
    for task in _by_pair(tasks):
        orders = orders_of(task.pair.id, task.principle.name, lane.judging.orders, seed)
        asked = {order: [_work(task, order, sample, lane) for sample in _samples(task, lane)] for order in orders}
        planned[task.id] = {order: tuple(work.rows[0] for work in of_order) for order, of_order in asked.items()}
        works.update({work.key: work for of_order in asked.values() for work in of_order})
    return planned, scheduled(works.values(), lane.judging.concurrency)


def _by_pair(tasks: Sequence[Task]) -> list[Task]:
    """Bring the tasks of a pair together, so that its texts are rendered once for all principles."""
    place: dict[str, int] = {}
    for task in tasks:
        place.setdefault(task.pair.id, len(place))
    return sorted(tasks, key=lambda task: place[task.pair.id])


def _samples(task: Task, lane: Lane) -> range:
    """Return the numbers of a task's samples; those of the same question asked anew come after the first ones."""
    n = lane.asking.samples
    return range(task.sample * n, (task.sample + 1) * n)


def _work(task: Task, order: Order, sample: int, lane: Lane) -> Work:
    request = build_request(task.pair, (task.principle,), order, lane.asking, sample)
    key = request_key(lane.identity, request)
    return Work(key, (key,), task.pair, (task.principle,), order, sample)


def scheduled(works: Iterable[Work], block: int) -> list[Work]:
    """Order requests so that prefix caches serve them: in blocks of pairs, a principle at a time.

    All principles of a pair share a prefix in each order, but only once the first of them has been answered.
    """
    pairs: dict[str, int] = {}
    principles: dict[str, int] = {}

    def place(work: Work) -> tuple[int, int, int, str, int]:
        pair = pairs.setdefault(work.pair.id, len(pairs))
        principle = principles.setdefault(work.principles[0].name, len(principles))
        return pair // block, principle, pair, work.order, work.sample

    return sorted(works, key=place)
