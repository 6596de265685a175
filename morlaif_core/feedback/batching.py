"""A provider's batch API: hand requests in, wait, fetch; each step is in the ledger before the next one is taken."""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.options import redact
from morlaif_core.protocols import Batches
from morlaif_core.types import Answer, ProviderError, Request

from .budget import NOTHING, Amount, BudgetReached
from .ledger import Batch, Row
from .metering import Meter
from .pacing import Stopped
from .requests import build_request
from .rows import Work, rows_of
from .sending import Parcel, Sent
from .verdict import Reading

if TYPE_CHECKING:
    from .lanes import Lane

FIRST_POLL, LAST_POLL, SLOWER = 30.0, 300.0, 1.5
"""Seconds between two looks at a batch: at first, at most, and by how much they grow."""
MAX_BATCHES = 2
"""Batches that a request is put into; what came of neither is asked alone."""
MAX_AGE = 28 * 86_400.0
"""Seconds after which a batch is given up: providers keep results for 29 or 30 days."""
COMMITTED = 500
"""Requests whose rows are committed together."""


class _Doubtful(Exception):
    """Whether the provider took a batch is not known."""


class _Entry(NamedTuple):
    """What came of one request of a batch. rows: none where it is to be asked again."""

    rows: list[tuple[Row, Reading]]
    spent: Amount


class BatchDesk:
    """Where a judge's requests are handed in as batches. What is in a batch under way is never asked otherwise.

    The worst case of a batch is booked as spent when it is planned, and put right when its answers are committed: an
    interrupted run may leave it open for days. A batch's name is RUN-RANDOM, so that the run that made it is charged.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane, self._tries, self._fetched = lane, Counter[str](), set[str]()
        self._booked: dict[str, Amount] = {}
        self._meter = Meter(lane.asked.price, batch=True)
        found: Any = lane.provider if hasattr(lane.provider, "submit") else None
        self._api: Batches = found
        if lane.judging.batch and found is None:
            raise UserError(
                f"judging.batch: the provider of judge '{lane.name}' has no batch API; set it to false for this judge"
            )

    def batches(self, queue: deque[Work]) -> Iterator[Coroutine[Any, Any, None]]:
        """Take out of a queue what is in a batch already, or goes into a new one, and yield who sees to each."""
        if self._api is None or not queue:
            return
        left = {work.key: work for work in queue}
        for batch in self._lane.commits.ledger.open_batches(self._lane.identity):
            held = [left.pop(key) for key in batch.keys if key in left and batch.name not in self._fetched]
            if held:
                yield self._resume(batch, held)
        fresh: list[Work] = []
        queue.clear()
        for work in left.values():
            batched = self._lane.judging.batch and self._tries[work.key] < MAX_BATCHES
            (fresh if batched else queue).append(work)
        self._tries.update(work.key for work in fresh)
        for start in range(0, len(fresh), self._api.max_batch_requests):
            yield self._buy(fresh[start : start + self._api.max_batch_requests])

    async def _buy(self, works: Sequence[Work]) -> None:
        """Put requests into a batch of their own, in halves one after the other where the budget wants that."""
        purse, run = self._lane.around.purse, self._lane.around.run
        requests = {work.key: self._request(work) for work in works}
        worst = self._meter.worst(list(requests.values()))
        try:
            await purse.reserve(worst, self._lane.pace)
        except BudgetReached:
            if len(works) == 1:
                raise
            await self._buy(works[: len(works) // 2])
            await self._buy(works[len(works) // 2 :])
            return
        name = f"{run}-{secrets.token_hex(8)}"
        batch = Batch(name, self._lane.name, self._lane.identity, None, "planned", tuple(requests), time.time())
        try:
            await self._write((), worst, batch)
            batch = await self._hand_in(batch, requests, worst)
            del requests  # answers take hours
            await self._fetch(batch, works)
        finally:
            purse.settle(worst, self._booked.pop(name, NOTHING))

    async def _resume(self, batch: Batch, works: Sequence[Work]) -> None:
        """Go on with a batch that an earlier command has begun, perhaps in another run that shares the ledger."""
        purse = self._lane.around.purse
        ours = _run_of(batch) == self._lane.around.run
        worst = self._meter.worst([self._request(work) for work in works]) if ours else NOTHING
        purse.adopt(worst)
        self._booked[batch.name] = worst
        try:
            if batch.id is None:
                batch = replace(batch, id=await self._find(batch, "the command was killed"), state="sent")
            if batch.id is None or batch.created < time.time() - MAX_AGE:
                await self._write((), NOTHING, replace(batch, state="done"))
            else:
                await self._fetch(batch, works)
        finally:
            booked = self._booked.pop(batch.name)
            purse.settle(worst, booked if ours else NOTHING)

    async def _hand_in(self, batch: Batch, requests: Mapping[str, Request], worst: Amount) -> Batch:
        """Hand a planned batch in. Raises where it cannot be, `RunFailed` where nobody can tell whether it was."""
        try:
            sent = await self._lane.sender.send(Parcel(lambda: self._submit(batch.name, requests)))
            if sent.error is not None:
                raise _troubled(sent)
            number = sent.answer
        except _Doubtful as doubt:
            number = await self._find(batch, str(doubt))
            if number is None:  # it may be listed a little later: the next command looks again
                raise _unsure(batch, str(doubt)) from None
        except (UserError, ProviderError, Stopped):
            await self._write((), NOTHING - worst, replace(batch, state="done"))
            raise
        batch = replace(batch, id=number, state="sent")
        await self._write((), NOTHING, batch)
        return batch

    async def _submit(self, name: str, requests: Mapping[str, Request]) -> str | None:
        try:
            return await self._api.submit(requests, name=name)
        except ProviderError as error:
            if not error.billed:
                raise
            doubt = _Doubtful(redact(str(error)))
        raise doubt

    async def _fetch(self, batch: Batch, works: Sequence[Work]) -> None:
        """Wait for a batch and commit its answers."""
        wait = FIRST_POLL
        while (results := await self._results(batch, works)) is None:
            await self._lane.pace.pause(wait)
            self._lane.pace.go_on()
            wait = min(LAST_POLL, wait * SLOWER)
        self._fetched.add(batch.name)
        for start in range(0, len(works), COMMITTED):
            last = start + COMMITTED >= len(works) and self._is_all_of(batch, works)
            await self._keep(batch, works[start : start + COMMITTED], results, last)
        stops = [str(it) for it in results.values() if isinstance(it, ProviderError) and it.kind == "run"]
        if stops:
            raise RunFailed(redact(stops[0]))

    async def _results(self, batch: Batch, works: Sequence[Work]) -> Mapping[str, Answer | ProviderError] | None:
        number = batch.id
        assert number is not None
        sent = await self._lane.sender.send(Parcel(lambda: self._api.fetch(number)))
        if sent.error is None:
            return sent.answer
        if not sent.lost:  # refused as a whole: nothing of it was answered, or paid for
            worst = self._meter.worst([self._request(work) for work in works])
            await self._write((), NOTHING - worst, replace(batch, state="done"))
        raise RunFailed(f"a batch cannot be fetched: {sent.error}; the same command goes on from there")

    def _is_all_of(self, batch: Batch, works: Sequence[Work]) -> bool:
        """Say whether nobody will want the batch again: its other requests have their rows."""
        others = set(batch.keys) - {work.key for work in works}
        return len(self._lane.commits.ledger.readings(others)) == len(others)

    async def _keep(
        self, batch: Batch, works: Sequence[Work], results: Mapping[str, Answer | ProviderError], last: bool
    ) -> None:
        """Commit some of a batch's answers with what they cost in place of what was booked."""
        requests = [self._request(work) for work in works]
        entries = [self._entry(batch, *pair, results) for pair in zip(works, requests, strict=True)]
        spent = sum((entry.spent for entry in entries), NOTHING)
        rows = [row for entry in entries for row in entry.rows]
        done = replace(batch, state="done") if last else batch
        await self._write([row for row, _ in rows], spent - self._meter.worst(requests), done)
        for row, reading in rows:
            self._lane.around.note(row.key, reading)

    def _entry(
        self, batch: Batch, work: Work, request: Request, results: Mapping[str, Answer | ProviderError]
    ) -> _Entry:
        asked = self._lane.asked._replace(batch=True, run=_run_of(batch))
        found, worst = results.get(work.key), self._meter.worst([request])
        if isinstance(found, Answer):
            return _Entry(rows_of(work, request, found, Sent([found]), asked), self._meter.spent([found], worst))
        spent = worst if found is not None and found.billed else Amount(requests=1)
        if found is None or found.kind != "item":
            return _Entry([], spent)
        failed: Sent[Sequence[Answer]] = Sent(None, redact(str(found)), maybe_billed=int(found.billed))
        return _Entry(rows_of(work, request, None, failed, asked), spent)

    def _request(self, work: Work) -> Request:
        return build_request(work.pair, work.principles, work.order, self._lane.asking, work.sample)

    async def _find(self, batch: Batch, why: str) -> str | None:
        """Look for a planned batch. Raises `RunFailed` where the provider cannot tell: then it is given up."""
        sent = await self._lane.sender.send(Parcel(lambda: self._api.find(batch.name)))
        if sent.error is None:
            return sent.answer
        if sent.lost:
            raise _troubled(sent)
        await self._write((), NOTHING, replace(batch, state="done"))
        raise _unsure(batch, why)

    async def _write(self, rows: Sequence[Row], spent: Amount, batch: Batch) -> None:
        await self._lane.commits.put(rows, spent.booked(_run_of(batch), batch.judge), [batch])
        self._booked[batch.name] = self._booked.get(batch.name, NOTHING) + spent


def _troubled(sent: Sent[str | None]) -> RunFailed:
    return RunFailed(f"its batch API says: {sent.error}; the same command goes on from there")


def _unsure(batch: Batch, why: str) -> RunFailed:
    return RunFailed(
        f"the server did not say whether it took a batch of {len(batch.keys):,} requests ({why}); look at its list of "
        "batches and cancel it there, or it is paid for twice: the same command hands the requests in anew"
    )


def _run_of(batch: Batch) -> str:
    return batch.name.rpartition("-")[0]
