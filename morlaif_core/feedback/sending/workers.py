"""A judge's queue and the workers that empty it: every answer becomes a committed row."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.asking.requests import Work, build_request
from morlaif_core.feedback.ledger.amounts import NOTHING
from morlaif_core.feedback.ledger.answer_rows import Sent, rows_of
from morlaif_core.feedback.ledger.commits import GroupCommit
from morlaif_core.feedback.ledger.tables import Spent
from morlaif_core.feedback.types import NamedJudge
from morlaif_core.redaction import redact
from morlaif_core.types import Answer, ProviderError, Request

from .active_judge import ActiveJudge, Surroundings
from .batches import BatchDesk
from .budget import BudgetReached
from .pace import Pace, Stopped
from .prefix_caching import Prefixes
from .request_costs import Meter, estimated
from .retry import Parcel, Trial

log = logging.getLogger(__name__)
MAX_LOST_IN_A_ROW = 10
WAITING = 4
"""Requests that wait to be tried again at most, in multiples of those in flight, before new ones are held back."""
FAILED = 4
"""Attempts that fail in a row, or as many as are in flight, before new requests are held back: at a concurrency of 1 a
single 429 says nothing of the server."""
GO_ON = "answers so far are kept; run the same command to continue"


class _Asked(NamedTuple):
    """Requests that are sent in one call, and how often that was tried."""

    works: Sequence[Work]
    requests: Sequence[Request]
    trial: Trial[Sequence[Answer]]


class _Waiting(NamedTuple):
    """Requests that wait to be tried again, in the order of when they are due, then of when they came."""

    due: float
    turn: int
    asked: _Asked


class Workers(ActiveJudge):
    """A judge's queue and the workers that empty it."""

    def __init__(self, judge: NamedJudge, commits: GroupCommit, pace: Pace, around: Surroundings) -> None:
        super().__init__(judge, commits, pace, around)
        self.queue: deque[Work] = deque()
        self.error: UserError | None = None
        self._told = False
        self._meter, self._lost_in_a_row = Meter(judge.price), 0
        self._ask_many: Callable[[Sequence[Request]], Sequence[Answer]] | None = getattr(
            self.provider, "ask_many", None
        )
        self._desk, self._prefixes = BatchDesk(self), Prefixes()
        self._waiting, self._turns, self._failed_in_a_row = list[_Waiting](), itertools.count(), 0

    def start(self) -> list[asyncio.Task[None]]:
        """Start whoever the queue needs: one for each batch, and as many as there is work for alone, up to the
        concurrency; a provider that takes several requests at once gets one at a time."""
        if self.error is not None:
            return []
        work: list[Coroutine[Any, Any, None]] = list(self._desk.batches(self.queue))
        # One model on this machine: a second thread would only share its cores.
        n = 1 if self._ask_many else self.judging.concurrency
        work += [self._work() for _ in range(min(n, len(self.queue)))]
        self.commits.slots += len(work)
        return [asyncio.create_task(self._guarded(one)) for one in work]

    async def close(self) -> None:
        """Book what was spent without a row, and await the provider's `aclose` where there is one."""
        with contextlib.suppress(UserError):  # the disk is full: the rows that could not be written have said so
            if spent := self._take_spent():
                self.commits.ledger.write((), spent)
        aclose: Any = getattr(self.provider, "aclose", None)
        if aclose is not None:
            await aclose()

    def check(self) -> None:
        """Stop before anything is sent where the ledger's answers have no labels."""
        try:
            self.watch.check()
        except RunFailed as error:
            self.fail(RunFailed(f"judge '{self.name}': {error}"))

    def fail(self, error: UserError) -> None:
        """Stop this judge within the requests in flight; the first error is the one reported."""
        self.error = self.error or error
        # The others look at this before they send, so that only what is in flight is still paid for.
        self.pace.stop.set()

    def tell_stop(self) -> None:
        """Say, once, that this judge has stopped, where others go on: else the error that ends judging says it."""
        if self.error is not None and not self._told:
            self._told = True
            log.warning("%s; the other judges go on", redact(str(self.error)).removesuffix(f"; {GO_ON}"))

    def _take_spent(self) -> list[Spent]:
        """Return what was spent and is not on disk yet; who takes it writes it."""
        booked, self.sender.booked = self.sender.booked, NOTHING
        return booked.booked(self.around.run, self.name)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a worker; what ends it ends the judge."""
        try:
            await work
        except Stopped:
            pass
        except ProviderError as error:
            self.fail(RunFailed(f"judge '{self.name}': {redact(str(error))}; {GO_ON}"))
        except BudgetReached as error:
            self.fail(error)
        except RunFailed as error:
            self.fail(RunFailed(f"judge '{self.name}': {redact(str(error))}"))
        except UserError as error:
            self.fail(error)
        finally:
            self.commits.leave()

    async def _work(self) -> None:
        while (asked := self._next()) is not None:
            # A place in flight is a worker: who has to wait lets another go first, unless there is none.
            await self.pace.pause(asked.trial.due - self.pace.clock())
            # Released before the commit: the prefix is in the server's cache once the answer is here.
            async with self._prefixes.turn(asked.works[0]):
                sent = await self.sender.attempt(asked.trial)
            self._failed_in_a_row = 0 if sent is not None else self._failed_in_a_row + 1
            if sent is None:
                self._wait(asked)
            elif sent.answer is None and not sent.lost and len(asked.works) > 1:
                # One request that is too long must not cost the whole batch its answers.
                for work in asked.works:
                    self._wait(self._asked([work]))
            else:
                await self._keep(asked, sent)

    def _next(self) -> _Asked | None:
        """Take the request that has waited long enough, else a new one, else the one that has the least time to wait."""
        if self.pace.stop.is_set():
            return None
        due = bool(self._waiting) and self._waiting[0].due <= self.pace.clock()
        most = self.judging.concurrency
        # A server that is down must not be sent a new request for each that waits.
        fresh = self._failed_in_a_row < max(most, FAILED) and len(self._waiting) < WAITING * most
        if self.queue and not due and (fresh or not self._waiting):
            size = max(1, self.capabilities.max_batch) if self._ask_many else 1
            return self._asked([self.queue.popleft() for _ in range(min(size, len(self.queue)))])
        return heapq.heappop(self._waiting).asked if self._waiting else None

    def _wait(self, asked: _Asked) -> None:
        heapq.heappush(self._waiting, _Waiting(asked.trial.due, next(self._turns), asked))

    def _asked(self, works: Sequence[Work]) -> _Asked:
        requests = [build_request(work.pair, work.principles, work.order, self.asking, work.sample) for work in works]
        return _Asked(works, requests, Trial(self._parcel(requests), due=self.pace.clock()))

    async def _keep(self, asked: _Asked, sent: Sent[Sequence[Answer]]) -> None:
        """Commit what came of requests."""
        self._count_lost(sent)
        answers: Sequence[Answer | None] = sent.answer if sent.answer is not None else [None] * len(asked.works)
        parts = zip(asked.works, asked.requests, answers, strict=True)
        answered = [rows_of(*part, sent, self.asked) for part in parts]
        await self.commits.put([row for rows in answered for row, _ in rows], self._take_spent())
        for rows in answered:
            self.note(rows)
        self.watch.check()

    def _parcel(self, requests: Sequence[Request]) -> Parcel[Sequence[Answer]]:
        worst = self._meter.worst(requests)
        return Parcel(
            lambda: self._call(requests),
            worst,
            spent=lambda answers: self._meter.spent(answers, worst),
            read=estimated(requests) if self.judging.tokens_per_minute else 0.0,
            written=sum(request.max_tokens for request in requests),
            counted=lambda answers: sum(answer.usage.input for answer in answers),
        )

    async def _call(self, requests: Sequence[Request]) -> Sequence[Answer]:
        if self._ask_many is None:
            return [await self.provider.ask(requests[0])]
        # In a thread: a local model computes for seconds, and signals and other judges need the loop.
        return await asyncio.to_thread(self._ask_many, requests)

    def _count_lost(self, sent: Sent[Sequence[Answer]]) -> None:
        """A server that is down must not be asked for every pair, six times each."""
        self._lost_in_a_row = self._lost_in_a_row + 1 if sent.lost else 0
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            problem = f"{self._lost_in_a_row} requests in a row got no answer, the last because: {sent.error}"
            self.fail(RunFailed(f"judge '{self.name}': {problem}; {GO_ON}"))
