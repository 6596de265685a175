"""From tasks to requests: groups of a joint judge, keys of rows, samples, and the order of sending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import build
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.plan import plan
from morlaif_core.feedback.asking.requests import Asking, Work, asking_of, build_request, request_key, row_key
from morlaif_core.feedback.asking.wordings import wording_of
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.ledger import read_rows
from morlaif_core.feedback.ledger.tables import Row
from morlaif_core.feedback.sending.prefix_caching import Prefixes
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.runs.pace import Done
from morlaif_core.testing import FaultServer, fault_server
from morlaif_core.types import Answer, Capabilities, Example, Principle, Request, ResponsePair, Usage
from tests.helpers.known_judges import Batched, Pairwise, longer, run, some_pairs

EXAMPLES = (Example("p", "good", "bad", "a"), Example("q", "worse", "better", "b"))
PRINCIPLES = tuple(
    Principle(f"p{i}", f"Which response is more {i}?", "worse" if i % 2 else "better", (f"More {i}?",), EXAMPLES)
    for i in range(4)
)
ALL = Capabilities(max_top_logprobs=20, structured=True)


@dataclass
class Asks:
    """A judge as planning sees it."""

    judging: Judging
    capabilities: Capabilities = ALL
    provider: object = None
    identity: str = "m"

    @property
    def asking(self) -> Asking:
        return asking_of(self.capabilities, self.judging)


def tasks(pairs: Sequence[ResponsePair], principles: Sequence[Principle] = PRINCIPLES) -> list[Task]:
    return [Task(pair, principle, "j") for principle in principles for pair in pairs]


def planned(asks: Asks, of: Sequence[Task]) -> list[Work]:
    return plan(of, asks, 0)[1]


class TestKeys:
    @pytest.mark.parametrize(
        "judging",
        [
            {},
            {"mode": "text", "samples": 3},
            {"mode": "structured", "abstain": True},
            {"mode": "rationale", "few_shots": 2},
            {"joint": True, "samples": 2, "few_shots": 1, "abstain": True},
        ],
    )
    def test_are_those_of_the_requests_that_are_sent(self, judging: dict[str, Any]) -> None:
        asks = Asks(Judging(**judging))
        works = planned(asks, tasks(some_pairs(3)))
        assert len({work.key for work in works}) == len(works) > 0
        for work in works:
            request = build_request(work.pair, work.principles, work.order, asks.asking, work.sample)
            assert request_key("m", request) == work.key

    def test_of_who_reads_pairs(self) -> None:
        asks = Asks(Judging(), Capabilities(reads="pair"))
        for work in planned(asks, tasks(some_pairs(2))):
            request = build_request(work.pair, work.principles, work.order, asks.asking)
            assert (work.key,) == work.rows == (request_key("m", request),)

    def test_of_joint_rows_tell_principles_apart(self) -> None:
        works = planned(Asks(Judging(joint=True)), tasks(some_pairs(3)))
        assert len(works) == 3 * 2
        for work in works:
            assert work.rows == tuple(row_key(work.key, principle.name) for principle in work.principles)
        assert len({row for work in works for row in work.rows}) == 3 * 2 * 4


class TestGroups:
    JOINT = Asks(Judging(joint=True))

    def test_the_order_of_principles_is_drawn_for_the_pair_and_that_of_tasks_is_of_no_account(self) -> None:
        pairs = some_pairs(20)
        works = planned(self.JOINT, tasks(pairs))
        assert {work.key for work in planned(self.JOINT, tasks(pairs[::-1], PRINCIPLES[::-1]))} == {
            work.key for work in works
        }
        orders = {work.pair.id: tuple(p.name for p in work.principles) for work in works}
        assert len(set(orders.values())) > 10
        assert all(tuple(p.name for p in work.principles) == orders[work.pair.id] for work in works)

    def test_each_task_has_its_own_rows(self) -> None:
        found = plan(tasks(some_pairs(2)), Asks(Judging(joint=True, samples=3)), 0)[0]
        orders = [rows or () for of_task in found.values() for rows in of_task]
        assert all(len(rows) == 3 for rows in orders)
        rows = [row for of_order in orders for row in of_order]
        assert len(set(rows)) == len(rows) == 2 * 4 * 2 * 3

    def test_another_question_under_the_same_name_is_asked_apart(self) -> None:
        (pair,) = some_pairs(1)
        other = Principle("p1", "Which response is something else?")
        works = planned(self.JOINT, [*tasks([pair]), Task(pair, other, "j")])
        assert sorted(len(work.principles) for work in works) == [1, 1, 4, 4]

    def test_the_same_asked_anew_is_asked_apart(self) -> None:
        (pair,) = some_pairs(1)
        anew = [Task(pair, principle, "j", sample=1) for principle in PRINCIPLES]
        works = planned(Asks(Judging(joint=True, samples=2)), [*tasks([pair]), *anew])
        assert sorted(work.sample for work in works) == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_one_random_order_is_that_of_all_principles(self) -> None:
        works = planned(Asks(Judging(joint=True, orders="one_random")), tasks(some_pairs(60)))
        assert len(works) == 60
        assert 15 < sum(work.order == "ab" for work in works) < 45


class TestSchedule:
    def test_a_local_model_gets_what_shares_a_prefix_together(self) -> None:
        asks = Asks(Judging(), provider=Batched(longer))
        works = planned(asks, tasks(some_pairs(5)))
        prefixes = [(work.pair.id, work.order) for work in works]
        assert all(prefixes[start : start + 4] == [prefixes[start]] * 4 for start in range(0, len(prefixes), 4))
        assert len(set(prefixes)) == 10

    @pytest.mark.parametrize("concurrency", [1, 16, 64])
    def test_the_first_of_a_prefix_goes_out_long_before_the_others(self, concurrency: int) -> None:
        works = planned(Asks(Judging(concurrency=concurrency)), tasks(some_pairs(100)))
        places: dict[tuple[str, str], list[int]] = {}
        for place, work in enumerate(works):
            places.setdefault((work.pair.id, work.order), []).append(place)
        # So many have been sent since, that at least as many as there are slots have been answered.
        assert all(found[1] - found[0] >= 2 * concurrency for found in places.values())
        assert max(found[-1] - found[1] for found in places.values()) < 12

    def test_few_pairs_too_are_sent_once_each(self, tmp_path: Path) -> None:
        provider = Pairwise(longer)
        run(provider, some_pairs(4), tmp_path, principles=PRINCIPLES[:2], concurrency=2)
        names = [request.principle.name for request in provider.asked]
        assert names == ["p0"] * 4 + ["p0"] * 2 + ["p1"] * 2 + ["p0"] * 2 + ["p1"] * 6


def asked_by(server: FaultServer, folder: Path, of: Sequence[Task], **judging: Any) -> tuple[list[Verdict], list[Row]]:
    def provider() -> Any:
        return build("feedback_provider", "openai", model="m", base_url=server.url, api_key=None)

    judge = NamedJudge("j", provider, Judging(**judging))
    verdicts = judge_tasks(of, {"j": judge}, ledger=folder / "rows.sqlite", seed=0, progress=_ignore)
    return verdicts, list(read_rows(folder / "rows.sqlite"))


def _ignore(done: Done) -> None:
    pass


@pytest.mark.parametrize("pairs", [1, 6])
def test_few_pairs_too_find_their_prefix_in_the_servers_cache(tmp_path: Path, pairs: int) -> None:
    principles = [Principle(f"p{i}", f"Which response is more {i}?") for i in range(12)]
    with fault_server(tokenizer=lambda text: list(text.encode()), latency=0.02) as server:
        asked_by(server, tmp_path, tasks(some_pairs(pairs), principles), concurrency=64)
        counts = server.statistics()
    assert counts.requests == 24 * pairs
    # A head of about 500 of 700 characters is read once for twelve requests.
    assert counts.prompt_tokens - counts.cached_tokens < 0.4 * counts.prompt_tokens


def test_nobody_waits_for_a_first_request_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morlaif_core.feedback.sending.prefix_caching.PATIENCE", 0.01)
    (work, *_) = planned(Asks(Judging()), tasks(some_pairs(1)))

    async def stuck() -> list[str]:
        prefixes, said, never = Prefixes(), [], asyncio.Event()

        async def one(name: str) -> None:
            async with prefixes.turn(work):
                said.append(name)
                if name == "first":
                    await never.wait()

        first = asyncio.create_task(one("first"))
        await asyncio.sleep(0)
        await one("second")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await one("third")
        return said

    assert asyncio.run(stuck()) == ["first", "second", "third"]


class TestJointly:
    def test_one_answer_becomes_a_row_for_each_principle(self, tmp_path: Path) -> None:
        pairs = some_pairs(5)
        with fault_server() as server:
            verdicts, rows = asked_by(server, tmp_path, tasks(pairs), joint=True)
            assert len(server.requests) == 10
        assert {verdict.mode for verdict in verdicts} == {"joint"}
        assert len(rows) == len(verdicts) * 2 == 40
        asked = {(pair.id, p.name): wording_of(p, pair, 0).hash for pair in pairs for p in PRINCIPLES}
        assert all(row.wording == asked[row.pair, row.principle] for row in rows)

    def test_tokens_are_shared_out(self, tmp_path: Path) -> None:
        class Says:
            identity, capabilities = "m", Capabilities(structured=True)

            async def ask(self, request: Request) -> Answer:
                return Answer('{"1": "A", "2": "B", "3": "tie", "4": "x"}', usage=Usage(103, 50, 9))

        run(Says(), some_pairs(1), tmp_path, principles=PRINCIPLES, joint=True)
        rows = list(read_rows(tmp_path / "judgements.sqlite"))
        for order in ("ab", "ba"):
            of_order = [row for row in rows if row.order == order]
            assert sum(row.tokens_in for row in of_order) == 103
            assert sum(row.tokens_cached for row in of_order) == 50
            assert sum(row.tokens_out for row in of_order) == 9
            assert sorted(row.status for row in of_order) == ["ok", "ok", "ok", "parse_error"]
            assert {row.verdict for row in of_order} == {"first", "second", "tie", None}

    def test_a_principle_more_asks_anew_and_the_same_again_asks_nothing(self, tmp_path: Path) -> None:
        pairs = some_pairs(3)
        with fault_server() as server:
            asked_by(server, tmp_path, tasks(pairs, PRINCIPLES[:3]), joint=True)
            asked_by(server, tmp_path, tasks(pairs, PRINCIPLES[:3]), joint=True)
            assert len(server.requests) == 6
            asked_by(server, tmp_path, tasks(pairs), joint=True)
            assert len(server.requests) == 12

    def test_a_request_of_which_a_row_is_missing_is_asked_anew(self, tmp_path: Path) -> None:
        import sqlite3

        with fault_server() as server:
            before, _ = asked_by(server, tmp_path, tasks(some_pairs(3)), joint=True)
            with sqlite3.connect(tmp_path / "rows.sqlite") as ledger:
                key = ledger.execute("SELECT key FROM rows WHERE principle = 'p2' AND \"order\" = 'ba'").fetchone()
                ledger.execute("DELETE FROM rows WHERE key = ?", key)
            ledger.close()
            after, rows = asked_by(server, tmp_path, tasks(some_pairs(3)), joint=True)
            assert len(server.requests) == 7
        assert len(rows) == 24
        assert [verdict.status for verdict in after] == [verdict.status for verdict in before]

    def test_a_request_that_fails_fails_for_all_and_is_asked_again(self, tmp_path: Path) -> None:
        with fault_server(faults={0: "bad_request_400"}) as server:
            verdicts, _ = asked_by(server, tmp_path, tasks(some_pairs(1)), joint=True)
            assert [verdict.status for verdict in verdicts] == ["failed"] * 4
            verdicts, _ = asked_by(server, tmp_path, tasks(some_pairs(1)), joint=True)
            assert {verdict.status for verdict in verdicts} <= {"ok", "tie"}
            assert len(server.requests) == 3


def test_samples_are_counted_over_both_orders(tmp_path: Path) -> None:
    with fault_server(bias=1.0) as server:
        verdicts, rows = asked_by(server, tmp_path, tasks(some_pairs(4)), mode="text", samples=5)
        assert len(server.requests) == len(rows) == 4 * 4 * 2 * 5
        assert {body["temperature"] for body in server.requests} == {1.0}
    assert sorted({row.sample for row in rows}) == [0, 1, 2, 3, 4]
    for verdict in verdicts:
        counts = [count for count in verdict.counts if count is not None]
        assert [sum(count) for count in counts] == [5, 5]
