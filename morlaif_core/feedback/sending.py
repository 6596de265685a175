"""Sending with patience: what to do after each kind of `ProviderError`, for all providers alike."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from morlaif_core.errors import RunFailed
from morlaif_core.options import redact
from morlaif_core.types import ProviderError

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_ATTEMPTS = 6
MAX_RATE_ATTEMPTS = 12
MAX_BILLED = 2
BASE_SECONDS, CAP_SECONDS = 0.5, 60.0
MAX_RETRY_AFTER = 120.0


class Stopped(Exception):
    """The judge stops: this request was not answered and leaves no row."""


@dataclass
class Pace:
    """What all workers of a judge share: the pause after a 429, the signal to stop, and time itself (for tests)."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    open_at: float = 0.0

    async def gate(self) -> None:
        """Wait until requests may go out. Raises `Stopped`."""
        while not self.stop.is_set() and (left := self.open_at - self.clock()) > 0:
            await self._pause(left)
        if self.stop.is_set():
            raise Stopped

    async def back_off(self, attempt: int, error: ProviderError) -> None:
        """Wait after a failed attempt (counted from 0): full jitter up to 60 s, at least what the server asks for.

        A 429 holds all workers. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        asked = error.retry_after or 0.0
        if asked > MAX_RETRY_AFTER:
            raise RunFailed(
                f"the server asks to wait {asked:.0f} s; answers so far are kept: run the same command again after that"
            )
        seconds = max(asked, self.draw.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt)))
        if error.kind == "rate":
            self.open_at = max(self.open_at, self.clock() + seconds)
        else:
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but wake when the judge stops."""
        sleeping, stopping = asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()


@dataclass(frozen=True)
class Sent(Generic[T]):
    """An answer, or the error (redacted) that ended the attempts. lost: given up on what may pass later."""

    answer: T | None
    error: str | None = None
    attempts: int = 1
    maybe_billed: int = 0
    seconds: float = 0.0
    lost: bool = False


async def send(call: Callable[[], Awaitable[T]], pace: Pace) -> Sent[T]:
    """Call until there is an answer or no hope. Raises `ProviderError` of kind run, `RunFailed`, `Stopped`."""
    attempts = rates = billed = 0
    while True:
        await pace.gate()
        started = pace.clock()
        try:
            answer = await call()
        except ProviderError as error:
            message = redact(str(error))
            attempts += 1
            rates += error.kind == "rate"
            billed += error.billed
            if error.kind == "run":
                raise
            spent = pace.clock() - started
            if error.kind == "item":
                return Sent(None, message, attempts, billed, spent)
            if attempts - rates >= MAX_ATTEMPTS or rates >= MAX_RATE_ATTEMPTS or billed >= MAX_BILLED:
                return Sent(None, message, attempts, billed, spent, lost=True)
            log.debug("attempt %d failed: %s", attempts, message)
            await pace.back_off(attempts - 1, error)
        else:
            return Sent(answer, None, attempts + 1, billed, pace.clock() - started)
