"""One judge at work: its provider, its queue, its workers; every answer becomes a committed row."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.options import redact
from morlaif_core.types import Answer, ProviderError, Request

from .commits import GroupCommit
from .ledger import Row
from .requests import asking_of, build_request
from .rows import Asked, Work, rows_of
from .sending import Pace, Sent, Stopped, send
from .tasks import NamedJudge
from .verdict import Reading

log = logging.getLogger(__name__)
MAX_LOST_IN_A_ROW = 10
GO_ON = "answers so far are kept: the same command goes on from there"


class Lane:
    """A judge's queue and the workers that empty it. ``note`` is called with each answered request's reading."""

    def __init__(
        self, judge: NamedJudge, *, commits: GroupCommit, pace: Pace, note: Callable[[str, Reading], None]
    ) -> None:
        self.name, self.judging, self.commits, self.pace, self._note = judge.name, judge.judging, commits, pace, note
        self.provider = judge.build()
        self.identity, self.capabilities = self.provider.identity, self.provider.capabilities
        self.asking = asking_of(self.capabilities, self.judging)
        self.queue: deque[Work] = deque()
        self.error: UserError | None = None
        self._asked = Asked(self.name, self.identity, self.asking, judge.price)
        self._ask_many: Callable[[Sequence[Request]], Sequence[Answer]] | None = getattr(
            self.provider, "ask_many", None
        )
        self._lost_in_a_row = 0

    def workers(self) -> list[asyncio.Task[None]]:
        """Start as many workers as there is work for; a provider that takes batches gets one at a time."""
        n = 1 if self._ask_many else min(self.judging.concurrency, len(self.queue))
        self.commits.slots += n
        return [asyncio.create_task(self._work()) for _ in range(n)]

    async def close(self) -> None:
        """Await the provider's `aclose` where there is one."""
        aclose: Any = getattr(self.provider, "aclose", None)
        if aclose is not None:
            await aclose()

    def fail(self, error: UserError) -> None:
        """Stop this judge within the requests in flight; the first error is the one reported."""
        if self.error is None:
            log.warning("judge '%s' stops: %s", self.name, redact(str(error)))
            self.error = error
        self.pace.stop.set()

    async def _work(self) -> None:
        try:
            while batch := self._take():
                answered = await self._answer(batch)
                await self.commits.put([row for row, _ in answered])
                for row, reading in answered:
                    self._note(row.key, reading)
        except Stopped:
            pass
        except ProviderError as error:
            self.fail(RunFailed(f"judge '{self.name}': {redact(str(error))}; {GO_ON}"))
        except RunFailed as error:
            self.fail(RunFailed(f"judge '{self.name}': {redact(str(error))}"))
        except UserError as error:
            self.fail(error)
        finally:
            self.commits.leave()

    def _take(self) -> list[Work]:
        if self.pace.stop.is_set():
            return []
        size = self.capabilities.max_batch if self._ask_many else 1
        return [self.queue.popleft() for _ in range(min(max(1, size), len(self.queue)))]

    async def _answer(self, batch: Sequence[Work]) -> list[tuple[Row, Reading]]:
        """Ask for a batch; where it cannot be answered as a whole, one by one."""
        requests = [build_request(work.pair, work.principles, work.order, self.asking, work.sample) for work in batch]
        sent = await send(lambda: self._call(requests), self.pace)
        if sent.answer is None and not sent.lost and len(batch) > 1:
            return [row for work in batch for row in await self._answer([work])]
        self._count_lost(sent)
        answers: Sequence[Answer | None] = sent.answer if sent.answer is not None else [None] * len(batch)
        parts = zip(batch, requests, answers, strict=True)
        return [row for part in parts for row in rows_of(*part, sent, self._asked)]

    async def _call(self, requests: Sequence[Request]) -> Sequence[Answer]:
        if self._ask_many is None:
            return [await self.provider.ask(requests[0])]
        return await asyncio.to_thread(self._ask_many, requests)

    def _count_lost(self, sent: Sent[Sequence[Answer]]) -> None:
        """A server that is down must not be asked for every pair, six times each."""
        self._lost_in_a_row = self._lost_in_a_row + 1 if sent.lost else 0
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            problem = f"{self._lost_in_a_row} requests in a row got no answer, the last because: {sent.error}"
            self.fail(RunFailed(f"judge '{self.name}': {problem}; {GO_ON}"))
