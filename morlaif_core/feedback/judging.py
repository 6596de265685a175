"""Judging: pairs and principles in, verdicts out; every answered request is in the ledger and never asked again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.protocols import FeedbackProvider
from morlaif_core.settings import Judging
from morlaif_core.types import Principle, ResponsePair

from .commits import GroupCommit
from .lanes import Lane, Work
from .ledger import Ledger
from .looping import run_draining
from .requests import Order, orders_of
from .sending import Pace
from .verdict import Mode, Reading, Status, decide

Progress = Callable[[int, int], None]
"""Called with (requests answered, requests in all)."""


@dataclass(frozen=True)
class NamedJudge:
    """A judge under its configured name. ``build`` is called inside the event loop, once."""

    name: str
    build: Callable[[], FeedbackProvider]
    judging: Judging


@dataclass(frozen=True)
class Task:
    """One principle to be judged on one pair, by the judge of that name."""

    pair: ResponsePair
    principle: Principle
    judge: str


@dataclass(frozen=True)
class Verdict:
    """What a judge holds of a pair under a principle.

    p_a: P(a is better) in [0, 1], 0.5 in a tie, None without a label. q: its log-odds, after `picks`. bias: position
    bias in log-odds of `p_first`, before `picks`; None where one order only was asked. first: log-odds of `p_first`
    with a first and with b first, before `picks`. statuses: of the two orders, None where not asked.
    """

    pair: str
    principle: str
    judge: str
    status: Status
    p_a: float | None
    q: float | None
    bias: float | None
    first: tuple[float | None, float | None]
    mode: Mode = "pair"
    statuses: tuple[Status | None, Status | None] = (None, None)
    censored: bool = False


def judge_tasks(
    tasks: Sequence[Task],
    judges: Mapping[str, NamedJudge],
    *,
    ledger: Path,
    seed: int,
    progress: Progress,
    pace: Callable[[], Pace] | None = None,
) -> list[Verdict]:
    """Judge all tasks and return their verdicts in the order of the tasks.

    ledger: where rows go, but for judges whose own `judging.ledger` names another file. seed: draws the orders of
    `one_random`. pace: sleep and clock of each judge, for tests.

    Requests that the ledger knows are not sent; equal requests are sent once; rows of status failed are tried again in
    a later call. Raises `UserError` (ledger unusable), `Busy` (held by another process), `RunFailed` (key, quota,
    model, server down: the other judges finish first, what is committed stays) and KeyboardInterrupt (after the
    requests in flight are committed).
    """
    if not tasks:
        return []
    needed = {name: judges[name] for name in dict.fromkeys(task.judge for task in tasks)}
    paths = {name: Path(judge.judging.ledger or ledger) for name, judge in needed.items()}
    books: dict[Path, Ledger] = {}
    try:
        for path in paths.values():
            if path not in books:
                books[path] = Ledger(path)
        run = _Judging(tasks, seed, progress, pace or (lambda: Pace(draw=random.Random(seed))))
        return run_draining(lambda: run.go(needed, {name: books[path] for name, path in paths.items()}))
    finally:
        for book in books.values():
            book.close()


class _Judging:
    """One call of `judge_tasks`."""

    def __init__(self, tasks: Sequence[Task], seed: int, progress: Progress, pace: Callable[[], Pace]) -> None:
        self._tasks, self._seed, self._progress, self._pace = tasks, seed, progress, pace
        self._lanes: dict[str, Lane] = {}
        self._keys: list[dict[Order, str]] = [{} for _ in tasks]
        self._readings: dict[str, Reading] = {}
        self._total = 0

    async def go(self, judges: Mapping[str, NamedJudge], books: Mapping[str, Ledger]) -> list[Verdict]:
        commits = {id(book): GroupCommit(book) for book in books.values()}
        try:
            for name, judge in judges.items():
                waiting = commits[id(books[name])]
                self._lanes[name] = Lane(
                    judge.name, judge.build(), judge.judging, commits=waiting, pace=self._pace(), note=self._note
                )
            self._plan(books)
            await _drive(list(self._lanes.values()))
        finally:
            for group in commits.values():
                group.flush()
            for lane in self._lanes.values():
                await lane.close()
        _raise_errors(self._lanes.values())
        return [self._verdict(task, keys) for task, keys in zip(self._tasks, self._keys, strict=True)]

    def _plan(self, books: Mapping[str, Ledger]) -> None:
        """Give every lane what its ledger does not know."""
        planned: dict[str, dict[str, Work]] = {name: {} for name in self._lanes}
        seen: set[str] = set()
        place: dict[str, int] = {}
        for task in self._tasks:
            place.setdefault(task.pair.id, len(place))
        # By pair, so that its texts are rendered once for all principles.
        for i in sorted(range(len(self._tasks)), key=lambda i: place[self._tasks[i].pair.id]):
            task, lane = self._tasks[i], self._lanes[self._tasks[i].judge]
            orders = orders_of(task.pair.id, task.principle.name, lane.judging.orders, self._seed)
            works = [lane.plan(task.pair, task.principle, order) for order in orders]
            self._keys[i] = {work.order: work.key for work in works}
            planned[task.judge].update({work.key: work for work in works if work.key not in seen})
            seen.update(work.key for work in works)
        self._total = len(seen)
        for name, works_of in planned.items():
            known = books[name].readings(works_of)
            self._readings |= {key: reading for key, reading in known.items() if reading.status != "failed"}
            missing = [work for key, work in works_of.items() if key not in self._readings]
            self._lanes[name].queue.extend(_scheduled(missing, self._lanes[name].judging.concurrency))
        self._progress(len(self._readings), self._total)

    def _note(self, key: str, reading: Reading) -> None:
        self._readings[key] = reading
        self._progress(len(self._readings), self._total)

    def _verdict(self, task: Task, keys: Mapping[Order, str]) -> Verdict:
        ab, ba = (self._readings[keys[order]] if order in keys else None for order in ("ab", "ba"))
        status, p_a, q, bias = decide(ab, ba, task.principle.picks)
        return Verdict(
            pair=task.pair.id,
            principle=task.principle.name,
            judge=task.judge,
            status=status,
            p_a=p_a,
            q=q,
            bias=bias,
            first=(ab.logit if ab else None, ba.logit if ba else None),
            mode=self._lanes[task.judge].mode,
            statuses=(ab.status if ab else None, ba.status if ba else None),
            censored=any(reading.censored for reading in (ab, ba) if reading),
        )


def _scheduled(works: Iterable[Work], block: int) -> list[Work]:
    """Order requests so that prefix caches serve them: in blocks of pairs, a principle at a time.

    All principles of a pair share a prefix in each order, but only once the first of them has been answered.
    """
    pairs: dict[str, int] = {}
    principles: dict[str, int] = {}

    def place(work: Work) -> tuple[int, int, int, str]:
        pair = pairs.setdefault(work.pair.id, len(pairs))
        principle = principles.setdefault(work.principle.name, len(principles))
        return pair // block, principle, pair, work.order

    return sorted(works, key=place)


async def _drive(lanes: Sequence[Lane]) -> None:
    """Run all workers. When cancelled, or when one fails unexpectedly, let requests in flight finish; then raise."""
    workers = [worker for lane in lanes for worker in lane.workers()]
    if not workers:
        return
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in done:
            worker.result()
    except BaseException:
        for lane in lanes:
            lane.pace.stop.set()
        await _drain(workers)
        raise


async def _drain(workers: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the workers' last requests; a second cancellation gives these up."""
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _raise_errors(lanes: Iterable[Lane]) -> None:
    errors = [lane.error for lane in lanes if lane.error is not None]
    if len(errors) > 1:
        raise RunFailed("\n".join(dict.fromkeys(str(error) for error in errors)))
    if errors:
        raise errors[0]


__all__ = ["Judging", "NamedJudge", "Progress", "Task", "UserError", "Verdict", "judge_tasks"]
