"""Sending with patience: what to do after each kind of `ProviderError`, for all providers alike.

Our own in place of the SDKs' retries: these pay for a hang three times, try an exhausted quota again, and sleep for as long
as a header says. Leaves out: hedged requests (a second one sent when the first is slow), since both are paid for.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from morlaif_core.errors import RunFailed
from morlaif_core.feedback.ledger.amounts import NOTHING, Amount
from morlaif_core.feedback.ledger.answer_rows import Sent
from morlaif_core.redaction import redact
from morlaif_core.types import ProviderError

from .budget import Purse
from .pace import Throttle

log = logging.getLogger(__name__)
T = TypeVar("T")
# Errors; a 429 has more tries, since a server that sends it is at work.
MAX_ATTEMPTS = 6
MAX_RATE_ATTEMPTS = 12
# Attempts that may have been paid for without an answer.
MAX_BILLED = 2
BASE_SECONDS, CAP_SECONDS = 0.5, 60.0
# Beyond it a run ends with advice: nobody watches a process that sleeps for an hour.
MAX_RETRY_AFTER = 120.0


@dataclass(frozen=True)
class Parcel(Generic[T]):
    """What is sent in one call. worst: what an attempt costs at most; spent: what an answer did cost.

    read, written: tokens of it that a rate limit counts, estimated; counted: those read, as the answer tells them.
    """

    call: Callable[[], Awaitable[T]]
    worst: Amount = NOTHING
    spent: Callable[[T], Amount] = lambda answer: NOTHING
    read: float = 0.0
    written: int = 0
    counted: Callable[[T], int] = lambda answer: 0


class _Tried(NamedTuple, Generic[T]):
    answer: T | None
    error: ProviderError | None
    seconds: float


class Sender:
    """The one way out to a judge: within budget and limits, with patience. ``booked``: spent and not yet on disk."""

    def __init__(self, throttle: Throttle, purse: Purse) -> None:
        self.pace, self.booked = throttle.pace, NOTHING
        self._throttle, self._purse = throttle, purse

    async def send(self, parcel: Parcel[T]) -> Sent[T]:
        """Call until there is an answer or no hope. Raises `ProviderError` of kind run, `RunFailed`, `Stopped`."""
        attempts = rates = billed = 0
        while True:
            tried: _Tried[T] = await self._attempt(parcel)
            error, seconds, attempts = tried.error, tried.seconds, attempts + 1
            if error is None:
                return Sent(tried.answer, None, attempts, billed, seconds)
            # Before anything is counted: each further request would meet the same error.
            if error.kind == "run":
                raise error
            rates += error.kind == "rate"
            billed += error.billed
            message = redact(str(error))
            if error.kind == "item":
                return Sent(None, message, attempts, billed, seconds)
            if attempts - rates >= MAX_ATTEMPTS or rates >= MAX_RATE_ATTEMPTS or billed >= MAX_BILLED:
                return Sent(None, message, attempts, billed, seconds, lost=True)
            log.debug("attempt %d failed: %s", attempts, message)
            await self._back_off(attempts - 1, error)

    async def _attempt(self, parcel: Parcel[T]) -> _Tried[T]:
        """Call once, when budget and limits allow it."""
        await self._purse.reserve(parcel.worst, self.pace)
        spent = NOTHING
        try:
            ticket = await self._throttle.enter(parcel.worst.requests, parcel.read + parcel.written)
            spent = parcel.worst  # until it is known to be less
            started = self.pace.clock()
            try:
                answer = await parcel.call()
            except ProviderError as error:
                if error.kind == "rate":
                    self._throttle.window.shrink(ticket)
                # Refused requests cost no money, and count against a cap of requests all the same.
                if not error.billed:
                    spent = Amount(requests=parcel.worst.requests)
                return _Tried(None, error, self.pace.clock() - started)
            finally:
                self._throttle.window.leave()
            spent = parcel.spent(answer)
            self._throttle.window.grow()
            self._throttle.correct(parcel.read, parcel.counted(answer))
            return _Tried(answer, None, self.pace.clock() - started)
        finally:
            self._purse.settle(parcel.worst, spent)
            self.booked += spent

    async def _back_off(self, attempt: int, error: ProviderError) -> None:
        """Wait after a failed attempt (counted from 0): full jitter up to 60 s, at least what the server asks for.

        A 429 holds all workers. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        asked, pace = error.retry_after or 0.0, self.pace
        if asked > MAX_RETRY_AFTER:
            raise RunFailed(
                f"the server asks to wait {asked:.0f} s; answers so far are kept: run the same command again after that"
            )
        seconds = max(asked, pace.draw.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt)))
        if error.kind == "rate":
            # The gate, which this worker meets too when it tries again: a limit is the key's, not one request's.
            pace.open_at = max(pace.open_at, pace.clock() + seconds)
        else:
            await pace.pause(seconds)
