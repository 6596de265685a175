"""Providers whose answers are known, and pairs to put to them: shared by the tests of judging."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from morlaif_core.config.judge_settings import Budget, Judging, Price
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.sending.pace import Pace
from morlaif_core.feedback.types import FREE, NamedJudge, Task, Verdict
from morlaif_core.plugins.protocols import FeedbackProvider
from morlaif_core.runs.pace import Done
from morlaif_core.types import (
    Answer,
    Capabilities,
    Message,
    Principle,
    ProviderError,
    Request,
    ResponsePair,
    make_pair,
    make_prompt,
)

BETTER = Principle("candour", "Which response is more candid?")
WORSE = Principle("toxicity", "Which response is more toxic?", "worse")


def some_pairs(n: int, human: float | None = None) -> list[ResponsePair]:
    """Pairs whose a is one character longer in even rows, b in odd ones."""
    texts = [("yes " * 3, "no  " * 3 + "!"), ("maybe" * 2, "often" * 2 + "?")]
    made = []
    for i in range(n):
        a, b = (f"{i} {text}" for text in texts[i % 2])
        prompt = make_prompt([Message("user", f"question {i}")])
        made.append(make_pair(prompt, b, a, human) if i % 2 == 0 else make_pair(prompt, a, b, human))
    return made


class Pairwise:
    """Reads pairs; p_first is a function of the request; keeps what it was asked."""

    identity = "pairwise-1"
    capabilities = Capabilities(reads="pair")

    def __init__(self, p_first: Callable[[Request], float]) -> None:
        self.p_first, self.closed, self.in_flight, self.most = p_first, False, 0, 0
        self.asked: list[Request] = []

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        return Answer(p_first=self.p_first(request))

    async def aclose(self) -> None:
        self.closed = True


class Batched:
    """The same, in batches."""

    identity = "batched-1"
    capabilities = Capabilities(reads="pair", max_batch=7)

    def __init__(self, p_first: Callable[[Request], float]) -> None:
        self.p_first = p_first
        self.sizes: list[int] = []

    def ask_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        self.sizes.append(len(requests))
        return [Answer(p_first=self.p_first(request)) for request in requests]


class Letters:
    """Reads messages, has no log-probabilities: says a letter."""

    identity = "letters-1"
    capabilities = Capabilities()

    def __init__(self, says: Callable[[Request], str]) -> None:
        self.says = says

    async def ask(self, request: Request) -> Answer:
        return Answer(text=self.says(request))


class Failing(Pairwise):
    """Raises what ``fault(number)`` gives, else answers 0.9 for the longer response."""

    def __init__(self, fault: Callable[[int], Exception | None]) -> None:
        super().__init__(longer)
        self.fault = fault

    async def ask(self, request: Request) -> Answer:
        error = self.fault(len(self.asked))
        answer = await super().ask(request)
        if error is not None:
            raise error
        return answer


def longer(request: Request) -> float:
    return 0.9 if len(request.first) > len(request.second) else 0.1


def fast_pace(slept: list[float] | None = None) -> Pace:
    """A pace whose sleep only moves its own clock."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        if slept is not None:
            slept.append(seconds)
        await asyncio.sleep(0)

    return Pace(sleep=sleep, clock=lambda: now[0], draw=random.Random(0))


def run(
    provider: object,
    pairs: Sequence[ResponsePair],
    folder: Path,
    *,
    principles: Sequence[Principle] = (BETTER,),
    slept: list[float] | None = None,
    seed: int = 0,
    price: Price | None = FREE,
    budget: Budget | None = None,
    name: str = "",
    **judging: object,
) -> list[Verdict]:
    """Judge by one judge. name: of the run, to which what is spent is booked."""
    tasks = [Task(pair, principle, "j") for principle in principles for pair in pairs]
    judge = NamedJudge("j", provides(provider), Judging.model_validate(judging), price)
    return judge_tasks(
        tasks,
        {"j": judge},
        ledger=folder / "judgements.sqlite",
        seed=seed,
        progress=_ignore,
        pace=lambda: fast_pace(slept),
        budget=budget,
        run=name,
    )


def provides(provider: object) -> Callable[[], FeedbackProvider]:
    """What a judge's `build` would be; providers of batches have no `ask`, which the protocol cannot say."""
    return lambda: cast(FeedbackProvider, provider)


def _ignore(done: Done) -> None:
    assert 0 <= done.answered <= done.total


def transient(billed: bool = False) -> ProviderError:
    return ProviderError("503", "transient", billed=billed)
