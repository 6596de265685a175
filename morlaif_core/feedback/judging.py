"""Judging: pairs and principles in, verdicts out; every answered request is in the ledger and never asked again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from morlaif_core.errors import RunFailed
from morlaif_core.settings import Budget

from .commits import GroupCommit
from .compound import Judge, leaves, verdict_on, wanted
from .lanes import Lane
from .ledger import Ledger
from .looping import run_draining
from .planning import Planned, plan
from .sending import Pace
from .tasks import NamedJudge, Task, Verdict
from .verdict import Reading, decide, merge_samples

Progress = Callable[[int, int], None]
"""Called with (requests answered, requests in all)."""


def judge_tasks(
    tasks: Sequence[Task],
    judges: Mapping[str, Judge],
    *,
    ledger: Path,
    seed: int,
    progress: Progress,
    pace: Callable[[], Pace] | None = None,
) -> list[Verdict]:
    """Judge all tasks and return their verdicts in the order of the tasks.

    judges: those that tasks name, and the members of panels and cascades. ledger: where rows go, but for judges whose
    own `judging.ledger` names another file. seed: draws the orders of `one_random`. pace: sleep and clock of each
    judge, for tests.

    Requests that the ledger knows are not sent; equal requests are sent once; rows of status failed are tried again in
    a later call. Raises `UserError` (ledger unusable), `Busy` (held by another process), `RunFailed` (key, quota,
    model, server down: the other judges finish first, what is committed stays) and KeyboardInterrupt (after the
    requests in flight are committed).
    """
    if not tasks:
        return []
    names = dict.fromkeys(leaf for task in tasks for leaf in leaves(task.judge, judges))
    needed = [judge for name in names if isinstance(judge := judges[name], NamedJudge)]
    with ExitStack() as stack:
        books: dict[Path, Ledger] = {}
        for judge in needed:
            path = Path(judge.judging.ledger or ledger)
            if path not in books:
                books[path] = Ledger(path)
                stack.callback(books[path].close)
        run = _Judging(tasks, judges, seed, progress, pace or (lambda: Pace(draw=random.Random(seed))))
        return run_draining(lambda: run.go(needed, books, ledger))


class _Judging:
    """One call of `judge_tasks`."""

    def __init__(
        self,
        tasks: Sequence[Task],
        judges: Mapping[str, Judge],
        seed: int,
        progress: Progress,
        pace: Callable[[], Pace],
    ) -> None:
        self._tasks, self._judges, self._seed, self._progress, self._pace = tasks, judges, seed, progress, pace
        self._lanes: dict[str, Lane] = {}
        self._planned: dict[tuple[object, ...], Planned] = {}
        self._readings: dict[str, Reading] = {}
        self._verdicts: dict[tuple[object, ...], Verdict] = {}
        self._total: set[str] = set()

    async def go(self, needed: Sequence[NamedJudge], books: Mapping[Path, Ledger], default: Path) -> list[Verdict]:
        """Ask in rounds until every task can be decided: a cascade's next judge is asked in the next round."""
        commits = {path: GroupCommit(book) for path, book in books.items()}
        try:
            for judge in needed:
                waiting = commits[Path(judge.judging.ledger or default)]
                self._lanes[judge.name] = Lane(judge, commits=waiting, pace=self._pace(), note=self._note)
            while missing := self._missing():
                self._queue(missing, {lane.name: lane.commits.ledger for lane in self._lanes.values()})
                await _drive(list(self._lanes.values()))
                _raise_errors(self._lanes.values())
        finally:
            for group in commits.values():
                group.flush()
            for lane in self._lanes.values():
                await lane.close()
        return [verdict_on(task, self._judges, self._find) for task in self._tasks]

    def _missing(self) -> list[Task]:
        """What the single judges still have to be asked."""
        leaf_tasks = (leaf for task in self._tasks for leaf in wanted(task, self._judges, self._find))
        return list({leaf.id: leaf for leaf in leaf_tasks}.values())

    def _queue(self, tasks: Sequence[Task], books: Mapping[str, Ledger]) -> None:
        """Give every lane what its ledger does not know."""
        for name, lane in self._lanes.items():
            mine = [task for task in tasks if task.judge == name]
            planned, works = plan(mine, lane, self._seed)
            self._planned |= planned
            rows = [row for work in works for row in work.rows]
            known = books[name].readings(row for row in rows if row not in self._readings)
            self._readings |= {key: reading for key, reading in known.items() if reading.status != "failed"}
            lane.queue.extend(work for work in works if any(row not in self._readings for row in work.rows))
            self._total.update(rows)
        self._progress(len(self._readings), len(self._total))

    def _note(self, key: str, reading: Reading) -> None:
        self._readings[key] = reading
        self._progress(len(self._readings), len(self._total))

    def _find(self, task: Task) -> Verdict | None:
        """The verdict of a single judge on a task; None where it was not asked yet."""
        if task.id in self._planned and task.id not in self._verdicts:
            self._verdicts[task.id] = self._verdict(task, self._planned[task.id])
        return self._verdicts.get(task.id)

    def _verdict(self, task: Task, planned: Planned) -> Verdict:
        ab, ba = (
            merge_samples([self._readings[row] for row in planned[order]]) if order in planned else None
            for order in ("ab", "ba")
        )
        status, p_a, q, bias = decide(ab, ba, task.principle.picks)
        costs = [reading.cost for reading in (ab, ba) if reading is not None]
        return Verdict(
            pair=task.pair.id,
            principle=task.principle.name,
            judge=task.judge,
            status=status,
            p_a=p_a,
            q=q,
            bias=bias,
            first=(ab.logit if ab else None, ba.logit if ba else None),
            mode=self._lanes[task.judge].asking.mode,
            statuses=(ab.status if ab else None, ba.status if ba else None),
            censored=any(reading.censored for reading in (ab, ba) if reading),
            counts=(ab.counts if ab else None, ba.counts if ba else None),
            off=(ab.off if ab else None, ba.off if ba else None),
            mass=(ab.mass if ab else None, ba.mass if ba else None),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        )


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


__all__ = ["Budget", "Judge", "NamedJudge", "Progress", "Task", "Verdict", "judge_tasks"]
