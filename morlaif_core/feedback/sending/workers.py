"""A judge's queue and the workers that empty it: every answer becomes a committed row."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.asking.requests import Work, build_request
from morlaif_core.feedback.ledger.amounts import NOTHING
from morlaif_core.feedback.ledger.answer_rows import Sent, rows_of
from morlaif_core.feedback.ledger.commits import GroupCommit
from morlaif_core.feedback.ledger.tables import Row, Spent
from morlaif_core.feedback.types import NamedJudge
from morlaif_core.redaction import redact
from morlaif_core.types import Answer, ProviderError, Request

from .active_judge import ActiveJudge, Surroundings
from .batches import BatchDesk
from .budget import BudgetReached
from .pace import Pace, Stopped
from .prefix_caching import Prefixes
from .request_costs import Meter, estimated
from .retry import Parcel

log = logging.getLogger(__name__)
MAX_LOST_IN_A_ROW = 10
GO_ON = "answers so far are kept; run the same command to continue"


class Workers(ActiveJudge):
    """A judge's queue and the workers that empty it."""

    def __init__(self, judge: NamedJudge, commits: GroupCommit, pace: Pace, around: Surroundings) -> None:
        super().__init__(judge, commits, pace, around)
        self.queue: deque[Work] = deque()
        self.error: UserError | None = None
        self._meter, self._lost_in_a_row = Meter(judge.price), 0
        self._ask_many: Callable[[Sequence[Request]], Sequence[Answer]] | None = getattr(
            self.provider, "ask_many", None
        )
        self._desk, self._prefixes = BatchDesk(self), Prefixes()

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

    def fail(self, error: UserError) -> None:
        """Stop this judge within the requests in flight; the first error is the one reported."""
        if self.error is None:
            log.warning("judge '%s' stops: %s", self.name, redact(str(error)))
            self.error = error
        # The others look at this before they send, so that only what is in flight is still paid for.
        self.pace.stop.set()

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
        while batch := self._take():
            # Released before the commit: the prefix is in the server's cache once the answer is here.
            async with self._prefixes.turn(batch[0]):
                answered = await self._answer(batch)
            await self.commits.put([row for row, _ in answered], self._take_spent())
            for row, reading in answered:
                self.around.note(row.key, reading)

    def _take(self) -> list[Work]:
        if self.pace.stop.is_set():
            return []
        size = self.capabilities.max_batch if self._ask_many else 1
        return [self.queue.popleft() for _ in range(min(max(1, size), len(self.queue)))]

    async def _answer(self, batch: Sequence[Work]) -> list[tuple[Row, Reading]]:
        """Ask for a batch; where it cannot be answered as a whole, one by one."""
        requests = [build_request(work.pair, work.principles, work.order, self.asking, work.sample) for work in batch]
        sent = await self.sender.send(self._parcel(requests))
        # One request that is too long must not cost the whole batch its answers.
        if sent.answer is None and not sent.lost and len(batch) > 1:
            return [row for work in batch for row in await self._answer([work])]
        self._count_lost(sent)
        answers: Sequence[Answer | None] = sent.answer if sent.answer is not None else [None] * len(batch)
        parts = zip(batch, requests, answers, strict=True)
        return [row for part in parts for row in rows_of(*part, sent, self.asked)]

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
