"""Requests and tokens per minute, on a clock that may run faster than the wall's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Limits:
    """Token buckets, as the large providers have them: full at first, refilled evenly, never above ``burst`` minutes.

    A minute lasts 60 / time_scale seconds. A request's tokens are its prompt's and the most it asks for; one that asks
    for more than a full bucket is refused for good, as a limit lower than a request does.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    time_scale: float = 1.0
    burst: float = 1.0
    clock: Callable[[], float] = time.monotonic
    allowed: int = 0
    refused: int = 0
    _buckets: list[_Bucket] = field(default_factory=list)

    def __post_init__(self) -> None:
        rates = (self.requests_per_minute, self.tokens_per_minute)
        if self.time_scale <= 0 or self.burst <= 0 or any(rate is not None and rate <= 0 for rate in rates):
            raise ValueError("limits, time scale and burst are above 0")
        now = self.clock()
        self._buckets = [
            _Bucket(rate * self.time_scale / 60, rate * self.burst, now) if rate is not None else _Bucket(0.0, 0.0, now)
            for rate in rates
        ]

    def ask(self, tokens: int) -> float:
        """Take a request and its tokens. Returns 0, or where it is refused the seconds until it would be allowed."""
        now = self.clock()
        wait = max(bucket.wait(amount, now) for bucket, amount in zip(self._buckets, (1, tokens), strict=True))
        if wait > 0:
            self.refused += 1
            return wait
        self.allowed += 1
        for bucket, amount in zip(self._buckets, (1, tokens), strict=True):
            bucket.level -= amount
        return 0.0


class _Bucket:
    """rate: units per real second, 0: no limit."""

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate, self.size, self.level, self.at = rate, size, size, now

    def wait(self, amount: float, now: float) -> float:
        if not self.rate:
            return 0.0
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, amount - self.level) / self.rate
