"""Judging: pairs and principles in, verdicts out; every answered request is in the ledger and never asked again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from morlaif_core.config.judge_settings import Budget
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.answers.panels_and_cascades import Judge, incomplete, leaves, verdict_on, wanted
from morlaif_core.feedback.answers.verdict import Reading, decide, merge_samples, with_mass
from morlaif_core.feedback.asking.plan import Planned, plan_blocks, scheduled
from morlaif_core.feedback.asking.requests import Work
from morlaif_core.feedback.ledger.commits import GroupCommit
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.sending.active_judge import Surroundings
from morlaif_core.feedback.sending.budget import Purse
from morlaif_core.feedback.sending.interrupts import run_draining
from morlaif_core.feedback.sending.pace import Pace
from morlaif_core.feedback.sending.workers import Workers
from morlaif_core.runs.pace import Done

from .types import NamedJudge, Task, Verdict

T = TypeVar("T")
_NEITHER = (None, None)
Progress: TypeAlias = Callable[[Done], None]


def judge_tasks(
    tasks: Sequence[Task],
    judges: Mapping[str, Judge],
    *,
    ledger: Path,
    seed: int,
    progress: Progress,
    pace: Callable[[], Pace] | None = None,
    budget: Budget | None = None,
    run: str = "",
    ledgers: Iterable[Path] = (),
) -> list[Verdict]:
    """Judge all tasks and return their verdicts in the order of the tasks.

    judges: those that tasks name, and the members of panels and cascades. ledger: where rows go, but for judges whose
    own `judging.ledger` names another file. seed: draws the orders of `one_random`. pace: sleep and clock of each
    judge, for tests. budget: caps on what ``run`` spends, earlier calls included; what these spent is looked up in the
    judges' ledgers and in ``ledgers``, the run's others.

    Requests that the ledger knows are not sent; equal requests are sent once; rows of status failed are tried again in
    a later call. Raises `UserError` (ledger unusable, no price for a budget), `Busy` (held by another process),
    `RunFailed` (key, quota, model, server down, budget reached: the other judges finish first, what is committed
    stays) and KeyboardInterrupt (after the requests in flight are committed).
    """
    if not tasks:
        return []
    # Each once, in the tasks' order: a set of names has another order in every process.
    names = dict.fromkeys(leaf for task in tasks for leaf in leaves(task.judge, judges))
    needed = [judge for name in names if isinstance(judge := judges[name], NamedJudge)]
    caps = budget or Budget()
    _check_prices(needed, caps)
    with ExitStack() as stack:
        books: dict[Path, Ledger] = {}
        for judge in needed:
            path = Path(judge.judging.ledger or ledger)
            if path not in books:
                # Held before what was spent is looked up: nobody else can spend in between.
                books[path] = Ledger(path)
                stack.callback(books[path].close)
        purse = Purse(caps, spent_by(run, [*books, ledger, *ledgers]))
        judging = _Judging(tasks, judges, seed, progress, purse)
        make_pace = pace or (lambda: Pace(draw=random.Random(seed)))
        return run_draining(lambda: judging.go(needed, books, ledger, make_pace, run))


def _check_prices(judges: Sequence[NamedJudge], caps: Budget) -> None:
    unknown = [judge.name for judge in judges if judge.price is None]
    if caps.usd is not None and unknown:
        raise UserError(
            f"budget.usd cannot be kept: no price is known for {', '.join(unknown)}; "
            f"set judges.{unknown[0]}.judging.price or list the model under prices"
        )


class _Judging:
    """One call of `judge_tasks`."""

    def __init__(
        self, tasks: Sequence[Task], judges: Mapping[str, Judge], seed: int, progress: Progress, purse: Purse
    ) -> None:
        self._tasks, self._judges, self._seed, self._progress, self._purse = tasks, judges, seed, progress, purse
        self._workers: dict[str, Workers] = {}
        self._found: dict[tuple[object, ...], Planned | Verdict] = {}
        self._readings: dict[str, Reading] = {}
        self._open: set[str] = set()
        self._known = 0
        self._priced = True

    async def go(
        self,
        needed: Sequence[NamedJudge],
        books: Mapping[Path, Ledger],
        default: Path,
        pace: Callable[[], Pace],
        run: str,
    ) -> list[Verdict]:
        """Ask in rounds until every task can be decided: a cascade's next judge is asked in the next round."""
        commits = {path: GroupCommit(book) for path, book in books.items()}
        self._priced = all(judge.price is not None for judge in needed)
        try:
            for judge in needed:
                around = Surroundings(run, self._purse, partial(self._note, judge.name))
                self._workers[judge.name] = Workers(
                    judge, commits[Path(judge.judging.ledger or default)], pace(), around
                )
            while missing := self._missing():
                self._queue(missing)
                await _drive(list(self._workers.values()))
            _raise_errors(self._workers.values())
        finally:
            for group in commits.values():
                # Rows of workers that were cancelled no longer wait for their timer: paid for, they are written.
                group.flush()
            for workers in self._workers.values():
                await workers.close()
        return [verdict_on(task, self._judges, self._found_or_failed) for task in self._tasks]

    def _missing(self) -> list[Task]:
        """What the single judges still have to be asked; those that stopped are asked nothing more."""
        held = self._held()
        leaf_tasks = (leaf for task in self._tasks for leaf in wanted(task, self._judges, self._find))
        askable = (leaf for leaf in leaf_tasks if self._workers[leaf.judge].error is None)
        return list({leaf.id: leaf for leaf in askable if (leaf.judge, leaf.pair.id) not in held}.values())

    def _held(self) -> set[tuple[str, str]]:
        """(judge, pair) of joint requests that wait: which principles they ask is not settled before every cascade above
        them has decided, and a request with one more principle is another request, paid anew."""
        joint = {name for name, workers in self._workers.items() if workers.asking.mode == "joint"}
        held = set()
        for task in self._tasks if joint else ():
            later = joint.intersection(leaves(task.judge, self._judges)) - {task.judge}
            if not later:
                continue
            next_ones = {leaf.judge for leaf in wanted(task, self._judges, self._find)}
            undecided = next_ones or incomplete(verdict_on(task, self._judges, self._found_or_failed))
            held |= {(name, task.pair.id) for name in later - next_ones if undecided}
        return held

    def _queue(self, tasks: Sequence[Task]) -> None:
        """Give every judge's queue what its ledger does not know."""
        taken: set[tuple[Ledger, str]] = set()  # two judges that ask the same share one request
        with _uncollected():
            for name, workers in self._workers.items():
                mine = [task for task in tasks if task.judge == name]
                unknown: dict[str, Work] = {}
                for planned, works in plan_blocks(mine, workers, self._seed):
                    self._found |= planned
                    unknown |= self._unknown(works, workers)
                unknown = {key: work for key, work in unknown.items() if (workers.commits.ledger, key) not in taken}
                if unknown:
                    workers.check()
                taken |= {(workers.commits.ledger, key) for key in unknown}
                workers.queue.extend(scheduled(unknown.values(), workers))
        self._show()

    def _unknown(self, works: Mapping[str, Work], workers: Workers) -> dict[str, Work]:
        """Take what the ledger knows, read by the label mass that this run asks for; return what is to be sent."""
        rows = [row for work in works.values() for row in work.rows]
        known = workers.commits.ledger.readings(row for row in rows if row not in self._readings)
        for key, reading in known.items():
            # A failed row is as if it were not there: it is asked again and replaced.
            if reading.status != "failed":
                self._readings[key] = with_mass(reading, workers.asking.min_label_mass)
                self._known += 1
        for work in works.values():
            if known.keys() >= set(work.rows):
                workers.watch.see(work.rows, [self._readings.get(row, known[row]) for row in work.rows])
        unread = {row for row in rows if row not in self._readings}
        self._open |= unread
        return {key: work for key, work in works.items() if not unread.isdisjoint(work.rows)}

    def _note(self, judge: str, key: str, reading: Reading) -> None:
        if reading.status != "failed":
            for name, workers in self._workers.items():
                if name != judge:
                    workers.tell_stop()
        self._readings[key] = reading
        self._open.discard(key)
        self._show()

    def _show(self) -> None:
        usd = self._purse.spent.usd if self._priced else None
        answered = len(self._readings)
        self._progress(Done(answered, answered + len(self._open), usd, self._known))

    def _find(self, task: Task) -> Verdict | None:
        """The verdict of a single judge on a task; None where not all of it has been answered."""
        name = task.id
        found = self._found.get(name)
        if found is None or isinstance(found, Verdict):
            return found
        if not all(row in self._readings for rows in found if rows for row in rows):
            return None
        verdict = self._found[name] = self._verdict(task, found)
        return verdict

    def _found_or_failed(self, task: Task) -> Verdict:
        """The same, failed where it is open: the next run asks it."""
        return self._find(task) or Verdict(task.pair.id, task.principle.name, task.judge, "failed")

    def _verdict(self, task: Task, planned: Planned) -> Verdict:
        ab, ba = (merge_samples([self._readings[row] for row in rows]) if rows else None for rows in planned)
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
            mode=self._workers[task.judge].asking.mode,
            statuses=(ab.status if ab else None, ba.status if ba else None),
            censored=any(reading.censored for reading in (ab, ba) if reading),
            counts=_both(ab.counts if ab else None, ba.counts if ba else None),
            off=_both(ab.off if ab else None, ba.off if ba else None),
            mass=(ab.mass if ab else None, ba.mass if ba else None),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Make objects that stay: looking through a million of them for garbage, again and again, takes a quarter longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _both(ab: T | None, ba: T | None) -> tuple[T | None, T | None]:
    """Return a pair; that of nothing is one for all verdicts, of which there may be very many."""
    return _NEITHER if ab is None and ba is None else (ab, ba)


async def _drive(judges: Sequence[Workers]) -> None:
    """Run all workers. When cancelled, or when one fails unexpectedly, let requests in flight finish; then raise."""
    workers = [worker for judge in judges for worker in judge.start()]
    if not workers:
        return
    try:
        # Not a TaskGroup, which cancels the other tasks: their requests in flight are paid for already.
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in done:
            worker.result()
    except BaseException:
        for judge in judges:
            judge.pace.stop.set()
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


def _raise_errors(judges: Iterable[Workers]) -> None:
    errors = {judge.name: judge.error for judge in judges if judge.error is not None}
    # A wrong configuration keeps its exit code; several errors are one failure.
    for error in errors.values():
        if len(errors) == 1 and not isinstance(error, RunFailed):
            raise error
    # Judges of one server stop for one reason, which is said once.
    whose: dict[str, list[str]] = {}
    for name, error in errors.items():
        whose.setdefault(str(error).removeprefix(f"judge '{name}': "), []).append(f"'{name}'")
    if whose:
        reasons = [f"judge {' and '.join(names)}: {reason}" for reason, names in whose.items()]
        raise RunFailed(f"judging is incomplete: {'; '.join(reasons)}")
