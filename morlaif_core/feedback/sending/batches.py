"""A provider's batch API: hand requests in, wait, fetch; each step is in the ledger before the next one is taken."""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.asking.requests import Work, build_request
from morlaif_core.feedback.ledger.amounts import NOTHING, Amount
from morlaif_core.feedback.ledger.answer_rows import Sent, rows_of
from morlaif_core.feedback.ledger.tables import Batch, Row
from morlaif_core.plugins.protocols import Batches
from morlaif_core.redaction import redact
from morlaif_core.types import Answer, ProviderError, Request

from .active_judge import ActiveJudge
from .budget import BudgetReached
from .pace import Stopped
from .request_costs import Meter
from .retry import Parcel

FIRST_POLL, LAST_POLL, SLOWER = 30.0, 300.0, 1.5
"""Seconds between two looks at a batch: at first, at most, and by how much they grow."""
MAX_BATCHES = 2
"""Batches that a request is put into; what came of neither is asked alone."""
MAX_AGE = 28 * 86_400.0
"""Seconds after which a batch is given up: providers keep results for 29 or 30 days."""
COMMITTED = 500
"""Requests whose rows are committed together."""
Results: TypeAlias = Mapping[str, Answer | ProviderError]
"""What came of a batch, by request."""


class _Doubtful(Exception):
    """Whether the provider took a batch is not known."""


class _Gone(Exception):
    """The provider no longer has a batch."""


class _NoRoom(Exception):
    """The provider's queue had no room for a batch: none of it was answered, or paid for."""


class _Entry(NamedTuple):
    """What came of one request of a batch. rows: none where it is to be asked again."""

    rows: list[tuple[Row, Reading]]
    spent: Amount


class BatchDesk:
    """Where a judge's requests are handed in as batches. What is in a batch under way is never asked otherwise.

    The worst case of a batch is booked as spent when it is planned, and put right when its answers are committed: an
    interrupted run may leave it open for days. The ledger keeps a batch with the requests that are not settled yet, so
    that each is fetched and put right once, whoever wants which part of it. A batch's name is RUN-RANDOM, so that the
    run that made it is charged. Leaves out: cancelling a batch, since whoever runs next goes on with it.
    """

    def __init__(self, judge: ActiveJudge) -> None:
        self._judge, self._tries, self._fetched = judge, Counter[str](), set[str]()
        self._booked: dict[str, Amount] = {}
        self._meter = Meter(judge.asked.price, batch=True)
        found: Any = judge.provider if hasattr(judge.provider, "submit") else None
        self._api: Batches = found
        if judge.judging.batch and found is None:
            raise UserError(
                f"judging.batch: the provider of judge '{judge.name}' has no batch API; set it to false for this judge"
            )
        self._most, self._crowded = found.max_batch_requests if found is not None else 0, False

    def batches(self, queue: deque[Work]) -> Iterator[Coroutine[Any, Any, None]]:
        """Take out of a queue what is in a batch already, or goes into a new one, and yield who sees to each."""
        if self._api is None or not queue:
            return
        left = {work.key: work for work in queue}
        for batch in self._judge.commits.ledger.open_batches(self._judge.identity):
            held = [left.pop(key) for key in batch.keys if key in left and batch.name not in self._fetched]
            if held:
                yield self._resume(batch, held)
        fresh: list[Work] = []
        queue.clear()
        for work in left.values():
            batched = self._judge.judging.batch and self._tries[work.key] < MAX_BATCHES
            (fresh if batched else queue).append(work)
        self._tries.update(work.key for work in fresh)
        if len(fresh) > self._most and not self._crowded:
            for start in range(0, len(fresh), self._most):
                yield self._buy(fresh[start : start + self._most], alone=False)
        elif fresh:
            yield self._buy_in_turn(fresh)

    async def _buy_in_turn(self, works: Sequence[Work]) -> None:
        """Buy one batch after the other, each as large as the provider's queue may have room for."""
        while works:
            part, works = works[: self._most], works[self._most :]
            await self._buy(part, alone=not self._booked)

    async def _buy(self, works: Sequence[Work], *, alone: bool) -> None:
        """Put requests into a batch of their own, in halves one after the other where the budget wants that."""
        purse, run = self._judge.around.purse, self._judge.around.run
        requests = {work.key: self._request(work) for work in works}
        worst = self._meter.worst(list(requests.values()))
        try:
            await purse.reserve(worst, self._judge.pace)
        except BudgetReached:
            if len(works) == 1:
                raise
            await self._buy(works[: len(works) // 2], alone=alone)
            await self._buy(works[len(works) // 2 :], alone=alone)
            return
        name = f"{run}-{secrets.token_hex(8)}"  # not from the seed: a run begun again must not find an old batch
        batch = Batch(name, self._judge.name, self._judge.identity, None, "planned", tuple(requests), time.time())
        try:
            await self._write((), worst, batch)  # before it is handed in: a kill leaves a name to look for
            batch = await self._hand_in(batch, requests, worst)
            del requests  # answers take hours
            await self._fetch(batch, works)
        except _NoRoom as refusal:
            self._put_back(works, str(refusal), alone=alone)
        finally:
            purse.settle(worst, self._booked.pop(name, NOTHING))

    def _put_back(self, works: Sequence[Work], why: str, *, alone: bool) -> None:
        """Let requests be handed in again, not counted as a try, when all batches have ended; then one after the other.

        alone: no other batch of this judge was in the way; then in halves.
        """
        self._tries.subtract(work.key for work in works)
        self._crowded = True
        if alone:
            self._most = min(self._most, len(works) // 2)
        if not self._most:
            raise RunFailed(
                f"the server's queue has no room for a batch of one request ({why}); wait until other batches have "
                "ended, or set judging.batch: false"
            ) from None

    async def _resume(self, batch: Batch, works: Sequence[Work]) -> None:
        """Go on with a batch that an earlier command has begun, perhaps in another run that shares the ledger."""
        purse = self._judge.around.purse
        ours = _run_of(batch) == self._judge.around.run
        worst = self._meter.worst([self._request(work) for work in works]) if ours else NOTHING
        purse.adopt(worst)
        self._booked[batch.name] = worst
        try:
            if batch.id is None:
                batch = replace(batch, id=await self._find(batch, "the command was killed"), state="sent")
            # Wall clock, as another process compares it, perhaps days later.
            if batch.id is None or batch.created < time.time() - MAX_AGE:
                await self._write((), NOTHING, replace(batch, state="done"))
            else:
                await self._fetch(batch, works)
        except _NoRoom:
            pass  # its requests are still missing: the next round hands them in anew
        finally:
            booked = self._booked.pop(batch.name)
            purse.settle(worst, booked if ours else NOTHING)

    async def _hand_in(self, batch: Batch, requests: Mapping[str, Request], worst: Amount) -> Batch:
        """Hand a planned batch in. Raises where it cannot be, `RunFailed` where nobody can tell whether it was."""
        try:
            sent = await self._judge.sender.send(Parcel(lambda: self._submit(batch.name, requests)))
            if sent.error is not None:
                raise _troubled(sent)
            number = sent.answer
        except _Doubtful as doubt:
            number = await self._find(batch, str(doubt))
            if number is None:  # it may be listed a little later: the next command looks again
                raise _unsure(batch, str(doubt)) from None
        except (UserError, ProviderError, Stopped):
            # Refused for sure, so the worst case that was booked is given back.
            await self._write((), NOTHING - worst, replace(batch, state="done"))
            raise
        batch = replace(batch, id=number, state="sent")
        await self._write((), NOTHING, batch)
        return batch

    async def _submit(self, name: str, requests: Mapping[str, Request]) -> str | None:
        try:
            return await self._api.submit(requests, name=name)
        except ProviderError as error:
            if error.reason == "unsent" or not (error.billed or error.kind == "transient"):
                raise
            doubt = _Doubtful(redact(str(error)))
        raise doubt  # outside the except block: see `Endpoint.call`

    async def _fetch(self, batch: Batch, works: Sequence[Work]) -> None:
        """Wait for a batch and commit its answers."""
        wait = FIRST_POLL
        while (results := await self._results(batch, works)) is None:
            await self._judge.pace.pause(wait)
            self._judge.pace.go_on()
            wait = min(LAST_POLL, wait * SLOWER)
        self._fetched.add(batch.name)
        for start in range(0, len(works), COMMITTED):
            batch = await self._keep(batch, works[start : start + COMMITTED], results)
        stops = [str(it) for it in results.values() if isinstance(it, ProviderError) and it.kind == "run"]
        if stops:
            raise RunFailed(redact(stops[0]))
        self._judge.watch.check()  # after all rows: the whole batch is paid

    async def _results(self, batch: Batch, works: Sequence[Work]) -> Results | None:
        try:
            sent = await self._judge.sender.send(Parcel(lambda: self._look(batch)))
        except _Gone as gone:
            await self._write((), NOTHING, replace(batch, state="done"))
            raise RunFailed(
                f"the server no longer has a batch of {len(batch.keys):,} requests ({gone}); it counts as spent at its "
                "worst case, and the next command hands it in anew"
            ) from None
        except _NoRoom:
            await self._settle(batch, works)
            raise
        if sent.error is None:
            return sent.answer
        if not sent.lost:  # refused as a whole: nothing of it was answered, or paid for
            await self._settle(batch, works)
        raise RunFailed(f"a batch cannot be fetched: {sent.error}; run the same command to continue")

    async def _look(self, batch: Batch) -> Results | None:
        assert batch.id is not None
        try:
            return await self._api.fetch(batch.id)
        except ProviderError as error:
            if error.reason not in ("gone", "full"):
                raise
            kind, said = _Gone if error.reason == "gone" else _NoRoom, redact(str(error))
        raise kind(said)  # outside the except block: see `Endpoint.call`

    async def _keep(self, batch: Batch, works: Sequence[Work], results: Results) -> Batch:
        """Commit some of a batch's answers. Returns the batch without them."""
        entries = [self._entry(batch, work, self._request(work), results) for work in works]
        spent = sum((entry.spent for entry in entries), NOTHING)
        batch = await self._settle(batch, works, [row for entry in entries for row, _ in entry.rows], spent)
        for entry in entries:
            self._judge.note(entry.rows)
        return batch

    async def _settle(
        self, batch: Batch, works: Sequence[Work], rows: Sequence[Row] = (), spent: Amount = NOTHING
    ) -> Batch:
        """Write what came of some requests, and what they cost in place of what was booked. Returns what is left."""
        settled = {work.key for work in works}
        left = tuple(key for key in batch.keys if key not in settled)
        batch = replace(batch, keys=left, state=batch.state if left else "done")
        # In one transaction with the rows: a kill must not book both the worst case and the cost.
        await self._write(rows, spent - self._meter.worst([self._request(work) for work in works]), batch)
        return batch

    def _entry(self, batch: Batch, work: Work, request: Request, results: Results) -> _Entry:
        asked = self._judge.asked._replace(batch=True, run=_run_of(batch))
        found, worst = results.get(work.key), self._meter.worst([request])
        if isinstance(found, Answer):
            return _Entry(rows_of(work, request, found, Sent([found]), asked), self._meter.spent([found], worst))
        spent = worst if found is not None and found.billed else Amount(requests=1)
        if found is None or found.kind != "item":
            return _Entry([], spent)
        failed: Sent[Sequence[Answer]] = Sent(None, redact(str(found)), maybe_billed=int(found.billed))
        return _Entry(rows_of(work, request, None, failed, asked), spent)

    def _request(self, work: Work) -> Request:
        return build_request(work.pair, work.principles, work.order, self._judge.asking, work.sample)

    async def _find(self, batch: Batch, why: str) -> str | None:
        """Look for a planned batch. Raises `RunFailed` where the provider cannot tell: then it is given up."""
        sent = await self._judge.sender.send(Parcel(lambda: self._api.find(batch.name)))
        if sent.error is None:
            return sent.answer
        if sent.lost:
            raise _troubled(sent)
        await self._write((), NOTHING, replace(batch, state="done"))
        raise _unsure(batch, why)

    async def _write(self, rows: Sequence[Row], spent: Amount, batch: Batch) -> None:
        await self._judge.commits.put(rows, spent.booked(_run_of(batch), batch.judge), [batch])
        self._booked[batch.name] = self._booked.get(batch.name, NOTHING) + spent


def _troubled(sent: Sent[str | None]) -> RunFailed:
    return RunFailed(f"its batch API says: {sent.error}; run the same command to continue")


def _unsure(batch: Batch, why: str) -> RunFailed:
    return RunFailed(
        f"the server did not say whether it took a batch of {len(batch.keys):,} requests ({why}); look at its list of "
        "batches and cancel it there, or it is paid for twice: the same command hands the requests in anew"
    )


def _run_of(batch: Batch) -> str:
    return batch.name.rpartition("-")[0]
