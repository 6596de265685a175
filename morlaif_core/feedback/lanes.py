"""One judge at work: its provider, its queue, its workers; every answer becomes a committed row."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.options import redact
from morlaif_core.protocols import FeedbackProvider
from morlaif_core.settings import Judging
from morlaif_core.types import Answer, Principle, ProviderError, Request, ResponsePair, content_hash

from .commits import GroupCommit
from .ledger import Row
from .prompt import TEMPLATE_HASH
from .requests import Order, build_request, mode_of, request_key
from .sending import Pace, Sent, Stopped, send
from .verdict import Reading, read_answer, sigmoid

log = logging.getLogger(__name__)
MAX_LOST_IN_A_ROW = 10
GO_ON = "answers so far are kept: the same command goes on from there"


class Work(NamedTuple):
    """One request to be made."""

    key: str
    pair: ResponsePair
    principle: Principle
    order: Order


class Lane:
    """A judge's queue and the workers that empty it. ``note`` is called with each answered request's reading."""

    def __init__(
        self,
        name: str,
        provider: FeedbackProvider,
        judging: Judging,
        *,
        commits: GroupCommit,
        pace: Pace,
        note: Callable[[str, Reading], None],
    ) -> None:
        self.name, self.provider, self.judging = name, provider, judging
        self.commits, self.pace, self._note = commits, pace, note
        self.identity, self.capabilities = provider.identity, provider.capabilities
        self.mode = mode_of(self.capabilities)
        self.queue: deque[Work] = deque()
        self.error: UserError | None = None
        self._ask_many: Callable[[Sequence[Request]], Sequence[Answer]] | None = getattr(provider, "ask_many", None)
        self._lost_in_a_row = 0

    def plan(self, pair: ResponsePair, principle: Principle, order: Order) -> Work:
        """Name the request that puts a principle to a pair in one order."""
        request = build_request(pair, principle, order, self.capabilities)
        return Work(request_key(self.identity, request), pair, principle, order)

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
        requests = [build_request(work.pair, work.principle, work.order, self.capabilities) for work in batch]
        sent = await send(lambda: self._call(requests), self.pace)
        if sent.answer is None and not sent.lost and len(batch) > 1:
            return [row for work in batch for row in await self._answer([work])]
        self._count_lost(sent)
        answers: Sequence[Answer | None] = sent.answer if sent.answer is not None else [None] * len(batch)
        return [self._row(*parts, sent) for parts in zip(batch, requests, answers, strict=True)]

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

    def _row(
        self, work: Work, request: Request, answer: Answer | None, sent: Sent[Sequence[Answer]]
    ) -> tuple[Row, Reading]:
        reading = Reading("failed") if answer is None else read_answer(answer, self.mode)
        logit = reading.logit
        usage = answer.usage if answer is not None else None
        row = Row(
            key=work.key,
            pair=work.pair.id,
            principle=work.principle.name,
            question_hash=content_hash(request.principle.question),
            order=work.order,
            judge=self.name,
            model=self.identity,
            model_returned=redact(answer.model) if answer is not None else "",
            mode=self.mode,
            template=TEMPLATE_HASH if request.messages else "",
            status=reading.status,
            verdict=None if logit is None else "first" if logit > 0 else "second" if logit < 0 else "tie",
            p_first=None if logit is None else sigmoid(logit),
            logit=logit,
            label_mass=reading.mass,
            censored=reading.censored,
            tokens_in=usage.input if usage else 0,
            tokens_cached=usage.cached if usage else 0,
            tokens_out=usage.output if usage else 0,
            cost=None,
            attempts=sent.attempts,
            maybe_billed=sent.maybe_billed,
            seconds=round(sent.seconds, 4),
            error=sent.error,
            answer=_raw(answer),
        )
        return row, reading


def _raw(answer: Answer | None) -> str | None:
    """Keep what the provider said as JSON, so that it can be read anew."""
    if answer is None:
        return None
    top = [dict(position) for position in answer.top_logprobs]
    said = {"text": answer.text, "finish": answer.finish, "top_logprobs": top, "p_first": answer.p_first}
    return redact(json.dumps(said))
