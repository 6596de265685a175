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


@dataclass
class Trial(Generic[T]):
    """A parcel on its way. rates: attempts refused by 429s; billed: those perhaps paid for. due: by the pace's clock."""

    parcel: Parcel[T]
    attempts: int = 0
    rates: int = 0
    billed: int = 0
    due: float = 0.0

    @property
    def hopeless(self) -> bool:
        """Whether it has been tried often enough."""
        errors = self.attempts - self.rates
        return errors >= MAX_ATTEMPTS or self.rates >= MAX_RATE_ATTEMPTS or self.billed >= MAX_BILLED


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
        trial = Trial(parcel)
        while (sent := await self.attempt(trial)) is None:
            await self.pace.pause(trial.due - self.pace.clock())
        return sent

    async def attempt(self, trial: Trial[T]) -> Sent[T] | None:
        """Call once, when budget and limits allow it; None: to be tried again when it is `due`. Raises as `send` does."""
        tried: _Tried[T] = await self._attempt(trial.parcel)
        error, seconds, trial.attempts = tried.error, tried.seconds, trial.attempts + 1
        if error is None:
            return Sent(tried.answer, None, trial.attempts, trial.billed, seconds)
        # Before anything is counted: each further request would meet the same error.
        if error.kind == "run":
            raise error
        trial.rates += error.kind == "rate"
        trial.billed += error.billed
        message = redact(str(error))
        if error.kind == "item":
            return Sent(None, message, trial.attempts, trial.billed, seconds)
        if trial.hopeless:
            return Sent(None, message, trial.attempts, trial.billed, seconds, lost=True)
        log.debug("attempt %d failed: %s", trial.attempts, message)
        self._back_off(trial, error)
        return None

    async def _attempt(self, parcel: Parcel[T]) -> _Tried[T]:
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
                    self._throttle.refused(ticket)
                # Refused requests cost no money, and count against a cap of requests all the same.
                if not error.billed:
                    spent = Amount(requests=parcel.worst.requests)
                return _Tried(None, error, self.pace.clock() - started)
            finally:
                self._throttle.window.leave()
            spent = parcel.spent(answer)
            self._throttle.answered()
            self._throttle.correct(parcel.read, parcel.counted(answer))
            return _Tried(answer, None, self.pace.clock() - started)
        finally:
            self._purse.settle(parcel.worst, spent)
            self.booked += spent

    def _back_off(self, trial: Trial[T], error: ProviderError) -> None:
        """Set when a failed attempt is due again: what the server asks for and a little more, else full jitter up to 60 s.

        A burst of 429s holds all workers. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        asked, pace = error.retry_after, self.pace
        if asked is not None and asked > MAX_RETRY_AFTER:
            raise RunFailed(
                f"the server asks to wait {asked:.0f} s; answers so far are kept: run the same command again after that"
            )
        earlier = (trial.rates if error.kind == "rate" else trial.attempts - trial.rates) - 1
        now, most = pace.clock(), min(CAP_SECONDS, BASE_SECONDS * 2**earlier)
        # Spread out even so: it tells all that it refuses the same moment.
        trial.due = (
            now + pace.draw.uniform(0, most) if asked is None else now + asked + pace.draw.uniform(0, BASE_SECONDS)
        )
        # A limit is the key's, not one request's; but a server that refuses some of many has not reached one.
        if error.kind == "rate" and self._throttle.bursting:
            pace.open_at = max(pace.open_at, trial.due if asked is None else now + asked)
