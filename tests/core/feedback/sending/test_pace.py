"""Patience, limits and adaptive concurrency, each on a clock of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given, strategies as st

from morlaif_core.config.judge_settings import Budget, Judging
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.ledger.amounts import NOTHING, Amount
from morlaif_core.feedback.ledger.answer_rows import Sent
from morlaif_core.feedback.sending.budget import Purse
from morlaif_core.feedback.sending.pace import Bucket, Pace, Stopped, Throttle, Window
from morlaif_core.feedback.sending.retry import MAX_RATE_ATTEMPTS, Parcel, Sender, Trial
from morlaif_core.types import ProviderError

T = TypeVar("T")


class Clock:
    """Time that passes only where somebody sleeps: all sleepers wake in order of their time."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, len(self.slept), woken))
        await woken

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine; whenever nothing else can be done, the next sleeper wakes."""

        async def driven() -> T:
            task = asyncio.ensure_future(main)
            while not task.done():
                for _ in range(20):
                    await asyncio.sleep(0)
                self._sleepers = sorted(one for one in self._sleepers if not one[2].done())
                if self._sleepers and not task.done():
                    self.now, _, woken = self._sleepers.pop(0)
                    woken.set_result(None)
            return task.result()

        return asyncio.run(driven())

    def pace(self) -> Pace:
        return Pace(sleep=self.sleep, clock=lambda: self.now, draw=random.Random(0))


def sender(pace: Pace, **judging: Any) -> Sender:
    return Sender(Throttle(pace, Judging(**judging)), Purse(Budget(), NOTHING))


def answering(*errors: ProviderError) -> Callable[[], Awaitable[str]]:
    """Raises the errors in turn, then answers."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


def send(call: Callable[[], Awaitable[str]], clock: Clock) -> Sent[str]:
    async def main() -> Sent[str]:
        return await sender(clock.pace()).send(Parcel(call))

    return clock.run(main())


def fault(kind: Any = "transient", **more: Any) -> ProviderError:
    return ProviderError("it said no", kind, **more)


def test_back_off_is_drawn_from_a_range_that_doubles_up_to_a_cap() -> None:
    most: list[list[float]] = [[] for _ in range(11)]
    for seed in range(300):
        clock = Clock()
        pace = clock.pace()
        pace.draw = random.Random(seed)

        async def main(pace: Pace = pace) -> None:
            await sender(pace).send(Parcel(answering(*[fault("rate")] * 11)))

        clock.run(main())
        for waits, seconds in zip(most, clock.slept, strict=True):
            waits.append(seconds)
    for attempt, waits in enumerate(most):
        bound = min(60, 0.5 * 2**attempt)
        assert 0.95 * bound < max(waits) <= bound
        assert sum(waits) / len(waits) == pytest.approx(bound / 2, rel=0.15)


@pytest.mark.parametrize("kind", ["rate", "transient"])
def test_what_the_server_asks_for_is_waited_up_to_two_minutes(kind: str) -> None:
    clock = Clock()
    assert send(answering(fault(kind, retry_after=119.0)), clock).answer == "answer"
    assert clock.now >= 119
    with pytest.raises(RunFailed, match=r"600 s.*same command"):
        send(answering(fault(kind, retry_after=600.0)), Clock())


def test_patience_has_an_end() -> None:
    six = send(answering(*[fault()] * 6), Clock())
    assert (six.answer, six.attempts, six.lost, six.error) == (None, 6, True, "it said no")
    assert send(answering(*[fault()] * 5), Clock()).answer == "answer"
    doubtful = send(answering(fault(billed=True), fault(), fault(billed=True)), Clock())
    assert (doubtful.attempts, doubtful.maybe_billed, doubtful.lost) == (3, 2, True)
    rates = send(answering(*[fault("rate")] * 12), Clock())
    assert (rates.attempts, rates.lost) == (MAX_RATE_ATTEMPTS, True)
    mixed = send(answering(*[fault("rate"), fault()] * 5), Clock())
    assert (mixed.answer, mixed.attempts) == ("answer", 11)


def test_what_will_never_do_is_not_tried_again() -> None:
    clock = Clock()
    item = send(answering(fault("item")), clock)
    assert (item.answer, item.attempts, item.lost) == (None, 1, False)
    with pytest.raises(ProviderError):
        send(answering(fault("run")), clock)
    assert clock.slept == []


def test_a_429_holds_all_workers() -> None:
    clock, sent = Clock(), list[float]()

    async def main() -> None:
        out = sender(clock.pace(), concurrency=4)
        first = answering(fault("rate", retry_after=50.0))

        async def worker(number: int) -> None:
            await clock.sleep(number)

            async def call() -> str:
                sent.append(clock.now)
                return await first() if number == 1 else "answer"

            await out.send(Parcel(call))

        await asyncio.gather(*[worker(number) for number in range(4)])

    clock.run(main())
    assert sorted(sent)[:2] == [0, 1]
    assert all(51 <= at <= 111 for at in sorted(sent)[2:])
    assert len(sent) == 5


def test_a_steady_few_429s_hold_nobody_else_and_do_not_shrink_the_window() -> None:
    clock, waited = Clock(), list[float]()

    async def main() -> Throttle:
        throttle = Throttle(clock.pace(), Judging(concurrency=16))
        out = Sender(throttle, Purse(Budget(), NOTHING))

        async def worker(number: int) -> None:
            for turn in range(60):
                refused = turn % 12 == number % 12 and turn > 12
                begun = clock.now
                await out.send(Parcel(answering(*[fault("rate", retry_after=30.0)] * refused)))
                if not refused:
                    waited.append(clock.now - begun)
                await clock.sleep(1)

        await asyncio.gather(*[worker(number) for number in range(16)])
        return throttle

    assert clock.run(main()).window.size == 16
    assert max(waited) == 0


def test_a_burst_of_429s_shrinks_the_window_once_and_holds_all() -> None:
    clock = Clock()

    async def main() -> tuple[float, float]:
        throttle = Throttle(clock.pace(), Judging(concurrency=16))
        out = Sender(throttle, Purse(Budget(), NOTHING))
        trials = [Trial(Parcel(limited)) for _ in range(16)]
        await asyncio.gather(*map(out.attempt, trials))
        return throttle.window.size, throttle.pace.open_at

    async def limited() -> str:
        await clock.sleep(1)
        raise fault("rate", retry_after=30.0)

    assert clock.run(main()) == (8, 31)


units = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), min_size=1, max_size=40)


@given(per_minute=st.floats(1, 6000), steps=units)
def test_no_stretch_of_time_sees_more_than_the_rate_and_a_second_of_it(
    per_minute: float, steps: list[tuple[float, float]]
) -> None:
    now = 0.0
    bucket, granted = Bucket(per_minute, lambda: now), list[tuple[float, float]]()
    for amount, passing in steps:
        granted.append((now + bucket.take(amount), amount))
        now += passing
    burst = max(1.0, per_minute / 60)
    times = [at for at, _ in granted]
    assert all(later >= at - 1e-9 for at, later in pairwise(times))
    for i, begin in enumerate(times):
        total = 0.0
        for at, amount in granted[i + 1 :]:
            total += amount
            assert total <= (at - begin) * per_minute / 60 + burst + 1e-6


def test_limits_are_kept_and_used_in_full() -> None:
    clock, sent = Clock(), list[float]()

    async def main() -> None:
        out = sender(clock.pace(), concurrency=8, requests_per_minute=60, tokens_per_minute=6000)

        async def call() -> str:
            sent.append(clock.now)
            await clock.sleep(0.5)
            return "answer"

        async def worker() -> None:
            for _ in range(30):
                await out.send(Parcel(call, Amount(requests=1), read=190, written=10, counted=lambda answer: 140))

        await asyncio.gather(*[worker() for _ in range(8)])

    clock.run(main())
    # 150 tokens count for each: 40 requests a minute, not 30 as estimated, not 60 as the other limit would let through.
    minutes = (sent[-1] - sent[0]) / 60
    assert len(sent) == 240
    assert 38 <= len(sent) / minutes <= 41


def test_the_window_halves_once_for_what_was_out_together_and_grows_by_one_a_window() -> None:
    async def main() -> None:
        window, pace = Window(16), Pace()
        tickets = [await window.enter(pace) for _ in range(16)]
        for ticket in tickets:
            window.shrink(ticket)
        assert window.size == 8
        for _ in range(16):
            window.leave()
        late = await window.enter(pace)
        window.shrink(late)
        assert window.size == 4
        for _ in range(4):
            window.grow()
        assert window.size == pytest.approx(4.9, abs=0.1)
        for _ in range(1000):
            window.grow()
        assert window.size == 16
        for _ in range(20):
            window.shrink(window._cuts)
        assert window.size == 1

    asyncio.run(main())


def test_places_in_the_window_are_given_in_order_and_none_is_lost() -> None:
    clock, order, out = Clock(), list[int](), list[int]()

    async def main() -> None:
        window, pace = Window(3), clock.pace()

        async def worker(number: int) -> None:
            await window.enter(pace)
            order.append(number)
            out.append(window._in_flight)
            await clock.sleep(1)
            window.leave()

        workers = [asyncio.ensure_future(worker(number)) for number in range(12)]
        await clock.sleep(0.5)
        workers[5].cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert window._in_flight == 0

    clock.run(main())
    assert order == [number for number in range(12) if number != 5]
    assert max(out) == 3


def test_a_judge_that_stops_wakes_everyone_who_waits() -> None:
    async def stopped(judging: dict[str, Any], error: ProviderError | None) -> None:
        out = sender(Pace(), **judging)
        calls = [0]

        async def call() -> str:
            calls[0] += 1
            if error is not None:
                raise error
            await asyncio.sleep(0.05)
            return "answer"

        async def worker() -> None:
            while True:
                await out.send(Parcel(call, Amount(requests=1)))

        workers = [asyncio.ensure_future(worker()) for _ in range(4)]
        await asyncio.sleep(0.02)
        before = calls[0]
        out.pace.stop.set()
        ends = await asyncio.wait_for(asyncio.gather(*workers, return_exceptions=True), 1)
        assert {type(end) for end in ends} == {Stopped}
        assert calls[0] == before

    async def main() -> None:
        await stopped({"concurrency": 4}, fault(retry_after=100.0))
        await stopped({"concurrency": 4}, fault("rate", retry_after=100.0))
        await stopped({"concurrency": 1}, None)
        await stopped({"requests_per_minute": 1}, None)
        await stopped({"tokens_per_minute": 1}, fault())

    asyncio.run(main())
