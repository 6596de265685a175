"""How fast a judge is asked: a gate for all its workers, requests and tokens per minute, requests in flight."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from morlaif_core.config.judge_settings import Judging

BURST_SECONDS = 1.0
"""What may go out at once after a silence, in seconds of the rate: a server's own bucket may be small or half empty."""

LATEST, BURST = 64, 0.25
"""Replies that tell whether a limit is reached, and the share of 429s among them that says so."""


class Stopped(Exception):
    """The judge stops: this request was not answered and leaves no row."""


@dataclass
class Pace:
    """What all workers of a judge share: the pause after a 429, the signal to stop, and time itself (for tests)."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    # Its own generator: the global ones are the trainers', and judging must not move them.
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    open_at: float = 0.0

    async def gate(self) -> None:
        """Wait until requests may go out. Raises `Stopped`."""
        while not self.stop.is_set() and (left := self.open_at - self.clock()) > 0:
            await self.pause(left)
        self.go_on()

    def go_on(self) -> None:
        """Raise `Stopped` where the judge stops."""
        if self.stop.is_set():
            raise Stopped

    async def pause(self, seconds: float) -> None:
        """Sleep, but wake when the judge stops; none, or less, is no sleep."""
        if seconds <= 0:
            return
        await self.until(asyncio.ensure_future(self.sleep(seconds)))

    async def until(self, future: asyncio.Future[Any]) -> None:
        """Wait for something, or until the judge stops."""
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({future, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when the stop came first: a sleep or a place that nobody waits for must not linger.
            future.cancel()
            stopping.cancel()


class Bucket:
    """Units per minute. Who takes more than there is waits until the debt is worn off: first come, first served."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._rate, self._clock = per_minute / 60, clock
        self._most = max(1.0, self._rate * BURST_SECONDS)
        self._level, self._at = self._most, clock()

    def take(self, units: float) -> float:
        """Take units and return the seconds until they are there."""
        now = self._clock()
        # May fall below 0: the debt makes later takers wait their turn, without a queue.
        self._level = min(self._most, self._level + (now - self._at) * self._rate) - units
        self._at = now
        return max(0.0, -self._level / self._rate)

    def give(self, units: float) -> None:
        """Give back what was taken too much; below 0: take what was taken too little."""
        self._level += units


class Window:
    """Requests in flight at most: half as many after a burst of 429s, one more after each window of answers (AIMD).

    Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989.
    """

    def __init__(self, most: int) -> None:
        self.size = float(most)
        self._most, self._in_flight, self._cuts = most, 0, 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, pace: Pace) -> int:
        """Wait for a place; first come, first served. Returns a ticket for `shrink`. Raises `Stopped`."""
        if self._waiting or self._in_flight >= int(self.size):
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await pace.until(place)
                pace.go_on()
            except BaseException:
                # `leave` gave the place away just before the cancellation: it goes to the next in line.
                if place.done() and not place.cancelled():
                    self.leave()
                raise
        else:
            self._in_flight += 1
        return self._cuts

    def leave(self) -> None:
        """Free a place."""
        self._in_flight -= 1
        while self._waiting and self._in_flight < int(self.size):
            place = self._waiting.popleft()
            # A waiter that was cancelled still stands in the line.
            if not place.done():
                self._in_flight += 1
                place.set_result(None)

    def grow(self) -> None:
        """An answer came."""
        # 1 / size each: one more place after as many answers as there are places.
        self.size = min(self._most, self.size + 1 / self.size)

    def shrink(self, ticket: int) -> None:
        """A burst of 429s came. All that went out before the last cut count as one."""
        if ticket == self._cuts:
            self.size = max(1.0, self.size / 2)
            self._cuts += 1


class Throttle:
    """Lets a judge's requests out: when the gate is open, a place is free and the server's limits allow it.
    Leaves out: limits told in headers, each server's in its own form; a 429 says when one is reached."""

    def __init__(self, pace: Pace, judging: Judging) -> None:
        self.pace, self.window = pace, Window(judging.concurrency)
        self._requests = judging.requests_per_minute and Bucket(judging.requests_per_minute, pace.clock)
        self._tokens = judging.tokens_per_minute and Bucket(judging.tokens_per_minute, pace.clock)
        self._refused = deque[bool](maxlen=LATEST)

    async def enter(self, requests: int, tokens: float) -> int:
        """Wait until requests with so many tokens may go out. Returns a ticket. Raises `Stopped`."""
        # The place first: units taken from a bucket go stale while one waits for a place.
        ticket = await self.window.enter(self.pace)
        try:
            await self.pace.gate()
            wait = self._requests.take(requests) if self._requests else 0.0
            if self._tokens:
                wait = max(wait, self._tokens.take(tokens))
            if wait > 0:
                await self.pace.pause(wait)
                await self.pace.gate()  # it may have been closed meanwhile
        except BaseException:
            self.window.leave()
            raise
        return ticket

    def answered(self) -> None:
        """An answer came."""
        self._refused.append(False)
        self.window.grow()

    def refused(self, ticket: int) -> None:
        """A 429 came. A burst of them shrinks the window once."""
        self._refused.append(True)
        if self.bursting:
            self.window.shrink(ticket)

    @property
    def bursting(self) -> bool:
        """Whether so many of the latest replies are 429s that a limit is reached: a steady few refuse no others."""
        return sum(self._refused) >= BURST * len(self._refused)

    def correct(self, estimated: float, counted: int) -> None:
        """The server has counted the tokens that were estimated."""
        if self._tokens and counted:
            self._tokens.give(estimated - counted)
