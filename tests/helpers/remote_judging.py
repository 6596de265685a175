"""Judging through the real SDKs and the fault server: what the tests of faults share."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from morlaif_core import build
from morlaif_core.config.judge_settings import Budget, Judging, Price
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.sending.pace import Pace
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.testing import FaultServer
from morlaif_core.types import Message, Principle, ResponsePair, make_pair, make_prompt

KEY = "sk-test-on-loopback-0123456789"
FAR_KEY = {"FAR_KEY": KEY}
"""The environment in which the judge `far` has its key."""
SDKS = ("openai", "anthropic")
PRINCIPLES = (Principle("candour", "Which is more candid?"), Principle("toxicity", "Which is more toxic?", "worse"))
FREE = Price(input=0.0, output=0.0)


def some_pairs(n: int, seed: int = 0) -> list[ResponsePair]:
    """Pairs of short texts, no two alike."""
    draw = random.Random(seed)
    words = "bread dough flour water salt yeast oven heat time rest fold shape bake crust crumb".split()

    def text(length: int) -> str:
        return " ".join(draw.choices(words, k=length))

    return [make_pair(make_prompt([Message("user", f"{i}: {text(4)}")]), text(6), text(8)) for i in range(n)]


def tasks_of(pairs: Sequence[ResponsePair], principles: Sequence[Principle] = PRINCIPLES) -> list[Task]:
    """Four requests a pair."""
    return [Task(pair, principle, "far") for pair in pairs for principle in principles]


def judge(
    server: FaultServer, sdk: str, folder: Path, tasks: Sequence[Task], *, pace: Callable[[], Pace] | None = None,
    price: Price = FREE, budget: Budget | None = None, timeout: float = 5.0, **judging: Any,
) -> list[Verdict]:  # fmt: skip
    """Judge through an SDK; the run is called ``r``, its ledger ``judgements.sqlite``."""
    far = judge_of(server, sdk, price=price, timeout=timeout, **judging)
    return judge_tasks(
        tasks, {"far": far}, ledger=folder / "judgements.sqlite", seed=0, progress=lambda done: None,
        pace=pace or (lambda: scaled_pace(50)), budget=budget, run="r",
    )  # fmt: skip


def judge_of(
    server: FaultServer, sdk: str, name: str = "far", *, price: Price = FREE, timeout: float = 5.0, **judging: Any
) -> NamedJudge:
    """A judge behind an SDK; the key lies in the variable FAR_KEY."""
    url = server.url if sdk == "openai" else server.anthropic_url
    options = {"model": "some-model", "base_url": url, "api_key": "FAR_KEY", "timeout": timeout}
    return NamedJudge(name, lambda: build("feedback_provider", sdk, **options), Judging(**judging), price)


def far_judge(url: str) -> str:
    """The setting that names a server's judge `far`."""
    return f"judges.far={{use: openai, model: any, base_url: '{url}', api_key: FAR_KEY}}"


def scaled_pace(scale: float, slept: list[float] | None = None) -> Pace:
    """A pace whose minute lasts 60 / scale seconds."""

    async def sleep(seconds: float) -> None:
        if slept is not None:
            slept.append(seconds)
        await asyncio.sleep(seconds / scale)

    return Pace(sleep=sleep, clock=lambda: time.monotonic() * scale, draw=random.Random(0))


def rows(folder: Path, columns: str = "key, status") -> list[tuple[Any, ...]]:
    """What the ledger holds."""
    with sqlite3.connect(folder / "judgements.sqlite") as ledger:
        return ledger.execute(f"SELECT {columns} FROM rows ORDER BY key").fetchall()
