"""Judging as a whole: order of results, ledger, retries, stops, interruption."""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from morlaif_core.config.judge_settings import Judging, Price
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.types import NamedJudge, Task
from morlaif_core.runs.pace import Done
from morlaif_core.types import Answer, Capabilities, Principle, ProviderError, Request
from tests.helpers.batch_shop import statuses
from tests.helpers.known_judges import (
    BETTER,
    WORSE,
    Batched,
    Failing,
    Letters,
    Pairwise,
    fast_pace,
    longer,
    provides,
    run,
    some_pairs,
    transient,
)


def test_verdicts_come_in_the_order_of_tasks_with_direction_applied(tmp_path: Path) -> None:
    pairs = some_pairs(20)
    provider = Pairwise(longer)
    verdicts = run(provider, pairs, tmp_path, principles=(BETTER, WORSE))
    assert [(v.principle, v.pair) for v in verdicts] == [(p.name, pair.id) for p in (BETTER, WORSE) for pair in pairs]
    for verdict, pair in zip(verdicts, [*pairs, *pairs], strict=True):
        a_longer = len(pair.a) > len(pair.b)
        expected = 0.9 if a_longer == (verdict.principle == "candour") else 0.1
        assert verdict.p_a == pytest.approx(expected)
        assert verdict.bias == pytest.approx(0, abs=1e-12)
        assert verdict.statuses == ("ok", "ok")
    assert provider.closed
    assert 1 < provider.most <= 16


def test_known_answers_are_not_asked_again_and_equal_requests_once(tmp_path: Path) -> None:
    pairs = some_pairs(10)
    first, again = Pairwise(longer), Pairwise(longer)
    verdicts = run(first, [*pairs, *pairs], tmp_path)
    assert len(first.asked) == 20
    assert verdicts[:10] == verdicts[10:]
    assert run(again, pairs[::-1], tmp_path, concurrency=3)[::-1] == verdicts[:10]
    assert again.asked == []
    added = Pairwise(longer)
    run(added, some_pairs(12), tmp_path)
    assert len(added.asked) == 4


def test_one_principle_changed_means_its_calls_only(tmp_path: Path) -> None:
    three = [Principle(f"p{i}", f"Which is more {i}?") for i in range(3)]
    run(Pairwise(longer), some_pairs(5), tmp_path, principles=three)
    provider = Pairwise(longer)
    three[1] = Principle("p1", "Which is less?")
    run(provider, some_pairs(5), tmp_path, principles=three)
    assert {request.principle.name for request in provider.asked} == {"p1"}
    assert len(provider.asked) == 10


def test_batches_and_letters(tmp_path: Path) -> None:
    provider = Batched(longer)
    verdicts = run(provider, some_pairs(10), tmp_path)
    assert provider.sizes == [7, 7, 6]
    assert {v.status for v in verdicts} == {"ok"}
    letters = Letters(lambda request: "A" if len(request.first) > len(request.second) else "B")
    assert [v.p_a for v in run(letters, some_pairs(2), tmp_path / "x")] == pytest.approx([0.75, 0.25])
    flips = run(Letters(lambda request: "A"), some_pairs(2), tmp_path / "y")
    assert [(v.status, v.p_a) for v in flips] == [("tie", 0.5)] * 2


def test_one_random_asks_one_order_seeded(tmp_path: Path) -> None:
    provider = Pairwise(longer)
    pairs = some_pairs(60)
    verdicts = run(provider, pairs, tmp_path, orders="one_random")
    assert len(provider.asked) == 60
    firsts = [v.first[0] is not None for v in verdicts]
    assert 15 < sum(firsts) < 45
    assert all(v.bias is None for v in verdicts)
    assert all(
        (v.p_a or 0) == pytest.approx(0.9 if len(p.a) > len(p.b) else 0.1) for v, p in zip(verdicts, pairs, strict=True)
    )
    assert run(Pairwise(longer), pairs, tmp_path, orders="one_random") == verdicts


def test_principles_may_have_different_judges_and_ledgers(tmp_path: Path) -> None:
    pairs = some_pairs(6)
    shared = tmp_path / "shared.sqlite"
    judges = {
        "one": NamedJudge("one", provides(Pairwise(longer)), Judging()),
        "two": NamedJudge("two", provides(Batched(lambda r: 0.5)), Judging(ledger=str(shared))),
    }
    tasks = [Task(pair, p, j) for pair in pairs for p, j in ((BETTER, "one"), (WORSE, "two"))]
    seen: list[tuple[int, int]] = []
    verdicts = judge_tasks(
        tasks,
        judges,
        ledger=tmp_path / "l.sqlite",
        seed=0,
        progress=lambda done: seen.append((done.answered, done.total)),
    )
    assert [v.judge for v in verdicts] == ["one", "two"] * 6
    assert {v.status for v in verdicts[1::2]} == {"tie"}
    assert len(list(Ledger(shared).rows())) == 12
    assert len(list(Ledger(tmp_path / "l.sqlite").rows())) == 12
    assert (seen[0], seen[-1]) == ((0, 24), (24, 24))


def test_transient_errors_are_tried_again_and_counted(tmp_path: Path) -> None:
    slept: list[float] = []
    provider = Failing(lambda n: transient() if n < 3 else None)
    verdicts = run(provider, some_pairs(1), tmp_path, slept=slept, concurrency=1)
    assert verdicts[0].status == "ok"
    assert len(slept) == 3
    ledger = Ledger(tmp_path / "judgements.sqlite")
    # Three errors and two answers: the order that waits to be tried again lets the other go first.
    assert sorted(row.attempts for row in ledger.rows()) == [2, 3]


@pytest.mark.parametrize(("billed", "attempts"), [(False, 6), (True, 2)])
def test_patience_ends_and_a_later_run_tries_again(tmp_path: Path, billed: bool, attempts: int) -> None:
    slept: list[float] = []
    pairs = some_pairs(1)
    provider = Failing(lambda n: transient(billed))
    assert run(provider, pairs, tmp_path, slept=slept)[0].status == "failed"
    assert len(provider.asked) == 2 * attempts
    assert all(seconds <= 60 for seconds in slept)
    assert statuses(tmp_path) == ["failed", "failed"]
    assert run(Failing(lambda n: None), pairs, tmp_path)[0].status == "ok"
    assert statuses(tmp_path) == ["ok", "ok"]


def test_an_item_that_cannot_be_is_a_row_and_not_tried_twice(tmp_path: Path) -> None:
    provider = Failing(lambda n: ProviderError("400 too long", "item") if n == 0 else None)
    verdicts = run(provider, some_pairs(5), tmp_path, concurrency=1)
    assert [v.status for v in verdicts] == ["failed", "ok", "ok", "ok", "ok"]
    assert len(provider.asked) == 10


def test_an_item_error_in_a_batch_costs_only_its_item(tmp_path: Path) -> None:
    class Choosy(Batched):
        def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
            if any(request.prompt.messages[0].content == "question 3" for request in requests):
                raise ProviderError("too long", "item")
            return list(super().ask_many(requests))

    assert [v.status for v in run(Choosy(longer), some_pairs(5), tmp_path)] == ["ok"] * 3 + ["failed"] + ["ok"]


@pytest.mark.parametrize(("after", "low"), [(0.2, 0.2), (100.0, 100.0), (None, 0.0)])
def test_rate_limits_hold_all_workers(tmp_path: Path, after: float | None, low: float) -> None:
    slept: list[float] = []
    provider = Failing(lambda n: ProviderError("429", "rate", retry_after=after) if n == 0 else None)
    run(provider, some_pairs(4), tmp_path, slept=slept, concurrency=2)
    assert low <= max(slept) + 1e-9
    assert all(seconds <= 120.5 for seconds in slept)


def test_a_server_that_wants_ten_minutes_pauses_the_run(tmp_path: Path) -> None:
    provider = Failing(lambda n: ProviderError("429", "rate", retry_after=600) if n == 7 else None)
    with pytest.raises(RunFailed, match=r"600 s.*same command"):
        run(provider, some_pairs(10), tmp_path, concurrency=2)
    assert len(statuses(tmp_path)) >= 7


def test_a_run_error_stops_within_the_requests_in_flight(tmp_path: Path) -> None:
    provider = Failing(lambda n: ProviderError("401: see OPENAI_API_KEY", "run") if n >= 100 else None)
    with pytest.raises(RunFailed, match=r"'j'.*OPENAI_API_KEY.*same command") as failed:
        run(provider, some_pairs(200), tmp_path, concurrency=8)
    assert failed.value.exit_code == 1
    assert len(provider.asked) <= 100 + 8
    assert statuses(tmp_path) == ["ok"] * 100
    rest = Pairwise(longer)
    assert {v.status for v in run(rest, some_pairs(200), tmp_path)} == {"ok"}
    assert len(rest.asked) == 300


def test_progress_tells_what_the_ledger_knew_from_what_was_answered(tmp_path: Path) -> None:
    told: list[Done] = []
    judges = {"j": NamedJudge("j", provides(Pairwise(longer)), Judging())}
    tasks = [Task(pair, BETTER, "j") for pair in some_pairs(10)]
    for some in (tasks[:6], tasks):
        told.clear()
        judge_tasks(some, judges, ledger=tmp_path / "l.sqlite", seed=0, progress=told.append, pace=fast_pace)
    assert [(one.answered, one.total, one.known) for one in (told[0], told[-1])] == [(12, 20, 12), (20, 20, 12)]


def test_a_server_that_is_lost_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the error that ends judging, for all judges of that server."""
    judges = {name: NamedJudge(name, provides(Failing(lambda n: transient())), Judging()) for name in ("one", "two")}
    tasks = [Task(pair, BETTER, name) for name in judges for pair in some_pairs(20)]
    with pytest.raises(
        RunFailed, match=r"^judging is incomplete: judge 'one' and 'two': \d+ requests in a row"
    ) as lost:
        judge_tasks(tasks, judges, ledger=tmp_path / "l.sqlite", seed=0, progress=lambda done: None, pace=fast_pace)
    assert str(lost.value).count("in a row") == 1
    assert not caplog.records


def test_a_server_that_is_down_ends_its_judge_and_the_others_finish(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = some_pairs(100)
    down, up = Failing(lambda n: transient()), Batched(longer)
    judges = {
        "down": NamedJudge("down", provides(down), Judging()),
        "up": NamedJudge("up", provides(up), Judging()),
    }
    tasks = [Task(pair, principle, j) for pair in pairs for principle, j in ((BETTER, "down"), (WORSE, "up"))]
    with pytest.raises(RunFailed, match=r"'down'.*in a row"):
        judge_tasks(
            tasks, judges, ledger=tmp_path / "judgements.sqlite", seed=0, progress=lambda done: None, pace=fast_pace
        )
    assert sum(up.sizes) == 200
    assert [record.message.endswith("; the other judges go on") for record in caplog.records] == [True]
    assert len(down.asked) < 200
    assert statuses(tmp_path).count("ok") == 200


def test_a_bug_in_a_provider_is_shown_as_it_is(tmp_path: Path) -> None:
    provider = Failing(lambda n: AttributeError("oops") if n == 5 else None)
    with pytest.raises(AttributeError, match="oops"):
        run(provider, some_pairs(10), tmp_path, concurrency=2)
    assert provider.closed
    assert len(statuses(tmp_path)) >= 5


def test_judging_works_where_a_loop_runs(tmp_path: Path) -> None:
    async def notebook() -> list[str]:
        return [v.status for v in run(Pairwise(longer), some_pairs(3), tmp_path)]

    assert asyncio.run(notebook()) == ["ok"] * 3


INTERRUPTED = """
import asyncio, sys
from pathlib import Path
from tests.helpers.known_judges import *
class Slow(Pairwise):
    async def ask(self, request):
        answer = await super().ask(request)
        with open(sys.argv[1] + "/sent", "a") as sent:
            sent.write("x")
        if len(self.asked) == 40:
            print("ready", flush=True)
        await asyncio.sleep(0.05)
        return answer
try:
    run(Slow(longer), some_pairs(500), Path(sys.argv[1]), concurrency=8)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_drains_and_nothing_is_bought_again(tmp_path: Path, number: signal.Signals) -> None:
    arguments = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    said = process.stdout.read()
    process.stdout.close()
    process.wait(timeout=10)
    sent, kept = len((tmp_path / "sent").read_text()), len(statuses(tmp_path))
    if number == signal.SIGKILL:
        assert sent - 8 <= kept <= sent
    else:
        assert (process.returncode, said.splitlines()[-1:]) == (130, ["interrupted"])
        assert kept == sent
    rest = Pairwise(longer)
    run(rest, some_pairs(500), tmp_path)
    assert len(rest.asked) == 1000 - kept


HANGING = """
import asyncio
from pathlib import Path
from tests.helpers.known_judges import *
class Hanging(Pairwise):
    async def ask(self, request):
        if len(self.asked) == 3:
            print("ready", flush=True)
            await asyncio.sleep(60)
        return await super().ask(request)
run(Hanging(longer), some_pairs(9), Path("{}"), concurrency=1)
"""


def test_a_second_ctrl_c_gives_up_what_hangs(tmp_path: Path) -> None:
    code = HANGING.format(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.send_signal(signal.SIGINT)  # the same one, which a launcher sent twice
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.4)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in told
    assert statuses(tmp_path) == ["ok"] * 3


def test_thousands_of_requests_a_second(tmp_path: Path) -> None:
    started = time.perf_counter()
    run(Pairwise(longer), some_pairs(1000), tmp_path)
    assert 2000 / (time.perf_counter() - started) > 200


def test_two_judges_that_ask_the_same_share_one_request(tmp_path: Path) -> None:
    pairs, provider = some_pairs(5), Pairwise(longer)
    tasks = [Task(pair, BETTER, name) for name in ("one", "two") for pair in pairs]
    judges = {name: NamedJudge(name, provides(provider), Judging()) for name in ("one", "two")}
    verdicts = judge_tasks(tasks, judges, ledger=tmp_path / "l.sqlite", seed=0, progress=lambda done: None)
    assert len(provider.asked) == 10
    assert [verdict.q for verdict in verdicts[:5]] == [verdict.q for verdict in verdicts[5:]]


class Weighing:
    """Gives its labels 0.6 of the probability."""

    identity = "weighing-1"
    capabilities = Capabilities(max_top_logprobs=5)

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, request: Request) -> Answer:
        self.asked += 1
        return Answer(text="A", top_logprobs=({"A": math.log(0.4), "B": math.log(0.2), "The": math.log(0.3)},))


def test_the_label_mass_that_a_run_asks_for_holds_for_what_the_ledger_knows(tmp_path: Path) -> None:
    provider, statuses = Weighing(), []
    for least in (0.5, 0.9, 0.5):
        verdicts = run(provider, some_pairs(2), tmp_path, min_label_mass=least)
        statuses.append({status for verdict in verdicts for status in verdict.statuses})
    assert statuses == [{"ok"}, {"off_label"}, {"ok"}]
    assert provider.asked == 4
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert {verdict.status for verdict in run(provider, some_pairs(2), fresh, min_label_mass=0.9)} == {"off_label"}
    back = run(provider, some_pairs(2), fresh, min_label_mass=0.5)
    assert {verdict.statuses for verdict in back} == {("ok", "ok")}
    assert provider.asked == 8


def test_the_cost_of_an_answer_without_tokens_is_not_known(tmp_path: Path) -> None:
    judge = NamedJudge("j", provides(Weighing()), Judging(), Price(input=1.0, output=2.0))
    tasks = [Task(pair, BETTER, "j") for pair in some_pairs(1)]
    (verdict,) = judge_tasks(tasks, {"j": judge}, ledger=tmp_path / "l", seed=0, progress=lambda done: None)
    assert verdict.cost is None
