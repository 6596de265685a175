"""How far a stage is, in words and numbers, and how often it is told where no terminal draws a bar."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from morlaif_core.types.scores import short_number

SHOWN = ("loss", "reward", "kl")
"""Metrics of training that are told beside the principles' means."""
SCORE = "score/"
"""Under this a trainer reports the mean score of each principle."""
WINDOW = 40
SAMPLE = 5.0
"""The rate is that of the last `WINDOW` looks, which lie at least `SAMPLE` seconds apart: what was quick long ago, as
answers of rules beside those of a server, does not make the rest look short."""


@dataclass(frozen=True, slots=True)
class Done:
    """How far work is: what is done, and all of it.

    usd: what the run has spent so far, earlier commands included; None where a price is not known. known: how many of
    those done took no time here, being in a ledger. metrics: what a trainer reports of a step.
    """

    answered: int
    total: int
    usd: float | None = None
    known: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


class Meter:
    """What has been done of a stage, how fast, and how long the rest will take.

    label: the stage's name; unit: what is counted. ``last`` is None until something is told.
    """

    def __init__(self, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self.unit, self._clock, self._begun = label, unit, clock, clock()
        self.last: Done | None = None
        self._looks: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def tell(self, done: Done) -> None:
        """Take what has been done."""
        self.last, now = done, self._clock()
        if not self._looks or now - self._looks[-1][0] >= SAMPLE:
            self._looks.append((now, done.answered - done.known))

    @property
    def rate(self) -> float | None:
        """Units a second; None where too little has been seen."""
        if self.last is None or not self._looks:
            return None
        then, before = self._looks[0]
        seconds, own = self._clock() - then, self.last.answered - self.last.known - before
        return own / seconds if seconds > 0 and own > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at this rate; None where it is not known."""
        rate = self.rate
        return None if self.last is None or rate is None else (self.last.total - self.last.answered) / rate

    def row(self) -> dict[str, Any]:
        """How far it is, for progress.json."""
        assert self.last is not None
        done = self.last
        seconds = round(self._clock() - self._begun, 1)
        left = None if self.left is None else round(self.left)
        row = {"stage": self.label, "unit": self.unit, "done": done.answered, "total": done.total}
        # JSON has no NaN.
        metrics = {name: value if math.isfinite(value) else None for name, value in done.metrics.items()}
        return {**row, "seconds": seconds, "seconds_left": left, "metrics": metrics}

    def line(self, full: bool = False) -> str:
        """How far it is, as a line. full: with every metric, not only the principles' means and the usual ones."""
        assert self.last is not None
        done = self.last
        parts = [
            f"{self.label}: {share(done.answered, done.total, self.unit)}",
            clock_time(self._clock() - self._begun),
        ]
        parts += [_per_time(self.rate)] if self.rate else []
        parts += [f"about {clock_time(self.left)} left"] if self.left else []
        parts += [f"${done.usd:,.4f}"] if done.usd else []
        told = done.metrics if full else {key: done.metrics[key] for key in done.metrics if _is_shown(key)}
        metrics = [f"{key.removeprefix(SCORE)} {short_number(value)}" for key, value in told.items()]
        return ", ".join(parts) + ("; " + ", ".join(metrics) if metrics else "")


class Paced:
    """Calls at a pace: after ``first`` seconds, then after intervals that grow by half up to ``longest``."""

    def __init__(
        self, call: Callable[[], None], first: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._call, self._every, self._longest, self._clock = call, first, longest, clock
        self._due = clock() + first

    def __call__(self) -> None:
        """Call, if it is time."""
        now = self._clock()
        if now >= self._due:
            self._call()
            self._every = min(1.5 * self._every, self._longest)
            self._due = now + self._every


def share(done: int, total: int, unit: str) -> str:
    """`12 of 400 steps (3 %)`; the share is rounded down, so that 100 % is all of it."""
    return f"{done:,} of {total:,} {unit}".rstrip() + (f" ({100 * done // total} %)" if total else "")


def clock_time(seconds: float) -> str:
    """Seconds as hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _is_shown(key: str) -> bool:
    return key in SHOWN or key.startswith(SCORE)


def _per_time(rate: float) -> str:
    """A rate in the unit in which it is at least 1."""
    for seconds, name in ((1, "s"), (60, "min")):
        if rate * seconds >= 1:
            return f"{rate * seconds:.3g}/{name}"
    return f"{rate * 3600:.3g}/h"
