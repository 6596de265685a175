"""Judging through the real SDKs while everything goes wrong: nothing lost, nothing bought twice, no limit passed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from morlaif_core.config.judge_settings import Budget, Price
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.sending.pace import Pace
from morlaif_core.testing import FaultMix, KnownPreference, fault_server
from morlaif_core.testing.faultserver import Line
from tests.helpers.remote_judging import KEY, PRINCIPLES, SDKS, judge, rows, scaled_pace, some_pairs, tasks_of

HANGS, PATIENCE = 4.0, 1.5
"""Seconds that a server may be silent, and after which we give up."""
SELDOM = tuple(kind for kind in FaultMix().kinds if kind in ("hang", "drip") or kind.startswith("retry_after"))
PASSING = tuple(
    kind for kind in (*SELDOM, *[kind for kind in FaultMix().kinds if kind not in SELDOM] * 3) if "600" not in kind
)
"""Whatever may pass; a wait of 600 s ends a run. What holds up all workers comes seldom: it takes the test's time."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", KEY)


@pytest.mark.slow(seconds=25)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sdk", SDKS)
def test_two_thousand_requests_of_which_a_quarter_of_the_attempts_fail(tmp_path: Path, sdk: str) -> None:
    oracle = KnownPreference(spread=12.0)
    mix = FaultMix(rate=0.28, kinds=PASSING, hang=HANGS, drip=HANGS)
    tasks = tasks_of(some_pairs(500))
    with fault_server(oracle=oracle, faults=mix, keep_bodies=False) as server:
        for _ in range(6):
            verdicts = judge(server, sdk, tmp_path, tasks, timeout=PATIENCE, concurrency=64)
            if all(verdict.status != "failed" for verdict in verdicts):
                break
        lines = server.ledger()
        sends = len(lines)
        judge(server, sdk, tmp_path, tasks, timeout=PATIENCE, concurrency=64)
        assert len(server.ledger()) == sends
    faulty = sum(line.kind != "ok" for line in lines) / sends
    assert faulty >= 0.25
    assert {line.kind for line in lines} == {"ok", *PASSING}
    answered = Counter(line.key for line in lines if line.kind == "ok")
    assert (len(answered), set(answered.values())) == (2000, {1})
    assert len(rows(tmp_path)) == 2000
    texts = {pair.id: pair for pair in (task.pair for task in tasks)}
    questions = {principle.name: principle.question for principle in PRINCIPLES}
    for pair, principle, order, verdict, status in rows(tmp_path, 'pair, principle, "order", verdict, status'):
        first, second = texts[pair].a, texts[pair].b
        if order == "ba":
            first, second = second, first
        q = oracle.log_odds(first, second, questions[principle])
        assert status == "ok"
        assert abs(q) < 8 or verdict == ("first" if q > 0 else "second")


@pytest.mark.parametrize("sdk", SDKS)
def test_a_finished_run_sends_nothing_whatever_the_concurrency_and_order(tmp_path: Path, sdk: str) -> None:
    tasks = tasks_of(some_pairs(30))
    with fault_server() as server:
        verdicts = judge(server, sdk, tmp_path, tasks, concurrency=16)
        sends = len(server.ledger())
        again = judge(server, sdk, tmp_path, tasks[::-1], concurrency=3, requests_per_minute=7)
        assert len(server.ledger()) == sends == 120
    assert again[::-1] == verdicts


@pytest.mark.slow(seconds=16)
@pytest.mark.parametrize(
    ("limits", "scale", "n"),
    [
        ({"requests_per_minute": 600, "tokens_per_minute": 60_000}, 16.0, 260),
        ({"requests_per_minute": 600}, 8.0, 310),
    ],
)
def test_limits_are_kept_and_used(tmp_path: Path, limits: dict[str, float], scale: float, n: int) -> None:
    file = tmp_path / "paid.jsonl"
    with fault_server(time_scale=scale, latency=0.02, process=True, ledger_file=file, **limits) as server:
        tasks = tasks_of(some_pairs(n))
        judge(server, "openai", tmp_path, tasks, pace=lambda: scaled_pace(scale), concurrency=64, **limits)
        lines = server.ledger()
    begin = lines[0].time + 60 / scale  # the first minute is for warming up
    seen = [line for line in lines if line.time >= begin]
    minutes = (seen[-1].time - begin) * scale / 60
    passed = [line for line in seen if line.kind == "ok"]
    limited = sum(line.kind == "limited" for line in seen) / len(seen)
    assert minutes > 0.9
    assert limited < 0.02
    used = max(
        len(passed) / minutes / limits["requests_per_minute"],
        sum(line.input + line.output for line in passed) / minutes / limits.get("tokens_per_minute", 1e9),
    )
    assert 0.85 <= used <= 1.05
    print(f"{limits}: {limited:.1%} refused, {used:.0%} of what is allowed used")


@pytest.mark.slow(seconds=8)
def test_without_limits_a_429_slows_down_and_nothing_is_given_up(tmp_path: Path) -> None:
    scale = 8.0
    with fault_server(time_scale=scale, requests_per_minute=600, burst=0.1, latency=0.02) as server:
        begin = time.monotonic()
        verdicts = judge(
            server, "openai", tmp_path, tasks_of(some_pairs(150)), pace=lambda: scaled_pace(scale), concurrency=64
        )
        minutes = (time.monotonic() - begin) * scale / 60
        counts = server.statistics()
    assert {verdict.status for verdict in verdicts} == {"ok"}
    assert counts.refused < counts.allowed
    assert 0.7 <= 600 / minutes / 600 <= 1.2


@pytest.mark.slow(seconds=20)
@pytest.mark.timeout(200)
def test_a_steady_mix_of_429s_and_errors_does_not_slow_down_who_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "paid.jsonl"
    passing = ("error_500", "html_502", "unavailable_503", "overloaded_529", "conflict_409", "reset_before")
    # Of 30 attempts in 100 that fail, 8 are 429s: each kind is drawn as often as it is named.
    mix = FaultMix(rate=0.3, kinds=(*["retry_after"] * 8, *(passing * 4)[:22]), retry_after=0.05)
    tasks = tasks_of(some_pairs(400))
    with fault_server(latency=0.03, process=True, ledger_file=tmp_path / "clean.jsonl") as server:
        (tmp_path / "clean").mkdir()
        judge(server, "openai", tmp_path / "clean", tasks[:400], concurrency=32, pace=Pace)
        clean = rate_of(server.ledger())
    with fault_server(faults=mix, latency=0.03, process=True, ledger_file=file) as server:
        judge(server, "openai", tmp_path, tasks, concurrency=32, pace=Pace)
        lines = server.ledger()
        for _ in range(3):  # what broke off twice may have been paid for, and is asked again
            judge(server, "openai", tmp_path, tasks, concurrency=32, pace=Pace)
        again = server.ledger()
    answered = Counter(line.key for line in again if line.kind == "ok")
    assert (len(answered), set(answered.values())) == (2 * len(tasks), {1})
    assert 0.07 < sum(line.status == 429 for line in lines) / len(lines) < 0.11
    # Of an answer's 1.4 attempts each takes a place for as long as one without faults does.
    assert rate_of(lines) > 0.2 * clean  # a place that waits: 0.05
    print(f"{rate_of(lines):.0f} requests a second, {clean:.0f} without faults")


def test_the_only_place_in_flight_is_given_away_while_a_request_waits(tmp_path: Path) -> None:
    with fault_server(faults=lambda number, body: "retry_after" if number == 0 else None) as server:
        judge(server, "openai", tmp_path, tasks_of(some_pairs(3)), concurrency=1, pace=Pace)
        refused, *lines = server.ledger()
    assert refused.status == 429
    place = [line.key for line in lines].index(refused.key)
    assert place > 0, "the next request went first"


def rate_of(lines: Sequence[Line]) -> float:
    """Answers a second; the last hundredth waits for its fifth and sixth attempts, and is left out."""
    times = sorted(line.time for line in lines if line.kind == "ok")
    body = times[: len(times) * 99 // 100]
    return len(body) / (body[-1] - body[0])


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("kind", [kind for kind in FaultMix().kinds if kind.startswith("retry_after")])
def test_no_wait_that_a_server_asks_for_is_longer_than_two_minutes(tmp_path: Path, sdk: str, kind: str) -> None:
    slept: list[float] = []
    tasks = tasks_of(some_pairs(3))
    with fault_server(faults=lambda number, body: kind if number == 3 else None) as server:

        def go() -> None:
            judge(server, sdk, tmp_path, tasks, pace=lambda: scaled_pace(1000, slept), concurrency=4)

        if kind == "retry_after_600":
            with pytest.raises(RunFailed, match=r"600 s.*run the same command again"):
                go()
        go()
    assert {status for _, status in rows(tmp_path)} == {"ok"}
    assert all(seconds <= 120 for seconds in slept)
    assert not slept or kind == "retry_after_date" or max(slept) <= 0.5


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("unauthorized_401", "FAR_KEY"),
        ("forbidden_403", "FAR_KEY"),
        ("model_not_found_404", "some-model"),
        ("quota_429", "some-model"),
    ],
)
def test_what_no_request_can_pass_stops_at_once(tmp_path: Path, sdk: str, kind: str, named: str) -> None:
    tasks = tasks_of(some_pairs(60))
    with fault_server(faults=lambda number, body: kind if 100 <= number < 120 else None) as server:
        with pytest.raises(RunFailed, match=rf"judge 'far'.*{named}.*same command"):
            judge(server, sdk, tmp_path, tasks, concurrency=8)
        assert 100 < len(server.ledger()) <= 100 + 8
        assert len(rows(tmp_path)) >= 100 - 8
        sent = len(server.ledger())
        known = {key for key, _ in rows(tmp_path)}
        assert len(known) == len(server.paid())
        while len(server.ledger()) < 120:  # the trouble is over at request 120
            sent += 1
            with pytest.raises(RunFailed):
                judge(server, sdk, tmp_path, tasks, concurrency=8)
        judge(server, sdk, tmp_path, tasks, concurrency=8)
        assert Counter(line.key for line in server.paid()).most_common(1)[0][1] == 1
    assert len(rows(tmp_path)) == 240


@pytest.mark.slow(seconds=18)
@pytest.mark.parametrize("sdk", SDKS)
def test_a_budget_of_a_dollar_is_never_passed(tmp_path: Path, sdk: str) -> None:
    price = Price(input=8.0, output=20.0)
    mix = FaultMix(rate=0.3, kinds=(*PASSING, "usage_null"), hang=HANGS, drip=HANGS, seed=3)
    tasks = tasks_of(some_pairs(300))
    with fault_server(faults=mix, keep_bodies=False) as server:

        def usd() -> float:
            return sum(line.input * price.input + line.output * price.output for line in server.paid()) / 1e6

        for cap in (0.4, 1.0, 1.0):
            with pytest.raises(RunFailed, match=r"budget reached.*raise budget\.usd"):
                judge(
                    server, sdk, tmp_path, tasks, timeout=PATIENCE, concurrency=32, price=price, budget=Budget(usd=cap)
                )
            assert 0.2 * cap < usd() <= cap  # what was doubtful counts as its worst case, five times an answer's
        for _ in range(4):
            judge(server, sdk, tmp_path, tasks, timeout=PATIENCE, concurrency=32, price=price, budget=Budget(usd=50))
        assert usd() > 1.0
        answered = Counter(line.key for line in server.ledger() if line.kind in ("ok", "usage_null"))
    assert (len(answered), set(answered.values())) == (1200, {1})
    assert {status for _, status in rows(tmp_path)} == {"ok"}


@pytest.mark.parametrize("sdk", SDKS)
def test_batches_through_both_apis(tmp_path: Path, sdk: str) -> None:
    tasks = tasks_of(some_pairs(20))
    mix = FaultMix(rate=0.2, kinds=("error_500", "reset_before"), most=1)
    with fault_server(faults=mix, batch_seconds=0.2) as server:
        verdicts = judge(server, sdk, tmp_path, tasks, batch=True, price=Price(input=1.0, output=1.0))
        lines = server.ledger()
    assert {verdict.status for verdict in verdicts} <= {"ok", "tie"}
    assert len({line.batch for line in lines}) >= 2
    assert Counter(line.key for line in lines if line.kind == "ok").most_common(1)[0][1] == 1
    usd = sum((line.input + line.output) * (0.5 if line.batch else 1.0) for line in lines if line.billed) / 1e6
    assert sum(cost for (cost,) in rows(tmp_path, "cost")) == pytest.approx(usd)


@pytest.mark.parametrize("sdk", SDKS)
def test_a_batch_that_was_made_without_our_knowing(tmp_path: Path, sdk: str) -> None:
    """The reply to its creation is lost: OpenAI's is found by its name, Anthropic's cannot be."""
    tasks = tasks_of(some_pairs(5))

    def lost(number: int, call: dict[str, object]) -> str | None:
        return "reset_body" if call["method"] == "POST" and str(call["path"]).endswith("batches") else None

    with fault_server(batch_faults=lost) as server:
        if sdk == "openai":
            judge(server, sdk, tmp_path, tasks, batch=True)
            assert len(server.paid()) == len(rows(tmp_path)) == 20
        else:
            with pytest.raises(RunFailed, match="look at its list of batches"):
                judge(server, sdk, tmp_path, tasks, batch=True)
