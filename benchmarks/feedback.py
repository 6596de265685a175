"""How fast judging is, ledger included, and what it costs in CPU: beside the bare SDK, against a server on loopback.

The server is a process of its own on the same machine. Both are measured in turns, in one run; medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import openai
from tables import print_rows, write_rows

import morlaif_core
from morlaif_core import Message, Principle, Request, ResponsePair, make_pair, make_prompt
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.types import NamedJudge, Task
from morlaif_core.testing import FaultServer, fault_server

CONCURRENCY = 64
LATENCY = 0.05
"""Seconds that the slow server takes to answer."""
PRINCIPLES = (
    Principle("helpfulness", "Which response is more helpful?"),
    Principle("toxicity", "Which is worse?", "worse"),
)


class Measured(NamedTuple):
    """A way of asking: requests a second, and CPU milliseconds of this process for each."""

    rate: float
    cpu: float


class Pair(NamedTuple):
    """Two ways of asking, one measured right after the other."""

    ours: Measured
    other: Measured


def some_pairs(n: int) -> list[ResponsePair]:
    """Pairs as long as those of real conversations: about 60 words a response."""
    draw = random.Random(0)
    words = "the of and to in is that it was for on are with as his they at be this from have or by one had not".split()

    def text(length: int) -> str:
        return " ".join(draw.choices(words, k=length))

    return [make_pair(make_prompt([Message("user", f"{i} {text(40)}")]), text(60), text(60)) for i in range(n)]


def measured(call: Callable[[], None], n: int) -> Measured:
    """Time a call that makes n requests."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Measured(n / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / n)


def judging(server: FaultServer, pairs: Sequence[ResponsePair]) -> None:
    """Judge as a run does: both orders, prompts, keys, ledger, verdicts."""
    far = NamedJudge(
        "far",
        lambda: morlaif_core.build("feedback_provider", "openai", model="any", base_url=server.url, api_key="FAR_KEY"),
        Judging(concurrency=CONCURRENCY),
    )
    tasks = [Task(pair, principle, "far") for pair in pairs for principle in PRINCIPLES]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "judgements.sqlite"
        verdicts = judge_tasks(tasks, {"far": far}, ledger=ledger, seed=0, progress=lambda done: None)
    assert {verdict.status for verdict in verdicts} == {"ok"}


def requests_of(pairs: Sequence[ResponsePair]) -> list[dict[str, Any]]:
    """The same requests as the SDK takes them, made beforehand: building them is not on the bare SDK's bill."""
    provider = morlaif_core.build("feedback_provider", "openai", model="any", api_key=None)
    asking = asking_of(provider.capabilities, Judging())
    return [
        _arguments(build_request(pair, (principle,), order, asking))
        for pair in pairs
        for principle in PRINCIPLES
        for order in ("ab", "ba")
    ]


def _arguments(request: Request) -> dict[str, Any]:
    messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
    one_token = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": request.top_logprobs}
    return {"model": "any", "messages": messages, **one_token}


def bare(server: FaultServer, requests: Sequence[dict[str, Any]]) -> None:
    """As many requests in flight through the asynchronous SDK alone; the answers are thrown away."""

    async def main() -> None:
        left = iter(requests)

        async def worker() -> None:
            for request in left:
                await client.chat.completions.create(**request)

        async with openai.AsyncOpenAI(api_key="any", base_url=server.url, max_retries=0) as client:
            await asyncio.gather(*[worker() for _ in range(CONCURRENCY)])

    asyncio.run(main())


def sequential(server: FaultServer, requests: Sequence[dict[str, Any]]) -> None:
    """One request after the other: what one writes first."""
    with openai.OpenAI(api_key="any", base_url=server.url, max_retries=0) as client:
        for request in requests:
            client.chat.completions.create(**request)


def in_turns(n: int, repeats: int, latency: float, other: Callable[[FaultServer], Measured]) -> list[Pair]:
    """Measure judging beside another way of asking the same server; n: requests each time."""
    pairs = some_pairs(n // 4)
    # In a process of its own, or its CPU time would count as ours.
    with fault_server(process=True, latency=latency) as server:
        judging(server, pairs[:10])  # imports
        return [Pair(measured(lambda: judging(server, pairs), n), other(server)) for _ in range(repeats)]


def measure(n: int, repeats: int) -> list[dict[str, Any]]:
    """Measure each way of asking, first with a server that answers at once; n: requests each time."""
    requests = requests_of(some_pairs(n // 4))
    few = requests[: max(20, n // 20)]
    fast = in_turns(n, repeats, 0.0, lambda server: measured(lambda: bare(server, requests), n))
    slow = in_turns(n, repeats, LATENCY, lambda server: measured(lambda: sequential(server, few), len(few)))
    delay = f"server takes {LATENCY * 1000:.0f} ms"
    return [
        row("judged requests, server without delay", "speed", median(fast, lambda it: it.ours.rate), "1/s", 250),
        row("the bare SDK, as many in flight", "speed", median(fast, lambda it: it.other.rate), "1/s"),
        row("CPU of a judged request", "cpu", median(fast, lambda it: it.ours.cpu), "ms"),
        row("CPU of the bare SDK", "cpu", median(fast, lambda it: it.other.cpu), "ms"),
        row("times the bare SDK's CPU", "ratio", median(fast, lambda it: it.ours.cpu / it.other.cpu), "", 1.5, True),
        row(f"judged requests, {delay}", "speed", median(slow, lambda it: it.ours.rate), "1/s"),
        row("the bare SDK, one after the other", "speed", median(slow, lambda it: it.other.rate), "1/s"),
        row("times as fast as that", "ratio", median(slow, lambda it: it.ours.rate / it.other.rate), "", 15),
    ]


def median(found: Sequence[Pair], value: Callable[[Pair], float]) -> float:
    """Median of a value."""
    return statistics.median(value(one) for one in found)


def row(
    name: str, metric: str, value: float, unit: str, target: float | None = None, most: bool = False
) -> dict[str, Any]:
    """One row of the report. most: the target is not to be passed."""
    met = None if target is None else value <= target if most else value >= target
    return {"name": name, "metric": metric, "value": value, "unit": unit, "target": target, "met": met}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests, at most a minute on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args()
    os.environ.setdefault("FAR_KEY", "sk-on-loopback-0123456789")
    rows = measure(1000, 3) if arguments.quick else measure(3000, 5)
    shown = {None: "", True: "yes", False: "no"}
    print_rows(
        [
            {
                "what": line["name"],
                "value": f"{line['value']:.2f} {line['unit']}".strip(),
                "target": "" if line["target"] is None else f"{line['target']:g}",
                "met": shown[line["met"]],
            }
            for line in rows
        ]
    )
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
