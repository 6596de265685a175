"""Batch APIs: half the price, nothing bought twice, whatever interrupts the waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.config.judge_settings import Budget
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.tables import Row
from morlaif_core.feedback.sending import batches as batching
from morlaif_core.types import Answer, Capabilities, ProviderError, Request
from tests.helpers.batch_shop import LETTER, Batching, Shop, judged, open_batches, spent, statuses
from tests.helpers.known_judges import BETTER, WORSE, Letters


def test_requests_are_handed_in_waited_for_and_joined_by_their_keys(tmp_path: Path) -> None:
    shop, slept = Shop(polls=20), list[float]()
    assert judged(Batching(shop), tmp_path, slept=slept) == ["ok"] * 40
    assert sorted(len(keys) for keys in shop.batches.values()) == [10, 30]
    assert (slept[0], max(slept), shop.alone) == (30.0, 300.0, 0)
    with sqlite3.connect(tmp_path / "judgements.sqlite") as db:
        assert db.execute("SELECT DISTINCT batch, run, attempts FROM rows").fetchall() == [(1, "r", 1)]
        (cost,) = db.execute("SELECT sum(cost) FROM rows").fetchone()
    assert cost == pytest.approx(shop.usd)
    assert spent(tmp_path) == Amount(pytest.approx(shop.usd), 40, 40 * 101)  # type: ignore[arg-type]
    assert open_batches(tmp_path) == []
    judged(Batching(shop), tmp_path)
    assert len(shop.batches) == 2


def test_a_provider_without_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"judging\.batch.*'j' has no batch API"):
        judged(Letters(lambda request: "A"), tmp_path)


@pytest.mark.parametrize("gone", [None, ProviderError("expired", "transient")])
def test_what_came_of_two_batches_to_nothing_is_asked_alone(tmp_path: Path, gone: ProviderError | None) -> None:
    shop = Shop(lambda number: gone if number % 3 == 0 else LETTER)
    assert judged(Batching(shop), tmp_path) == ["ok"] * 40
    assert [len(keys) for keys in shop.batches.values()][2:] == [14]
    assert shop.alone == sum(said is gone for said in list(shop.said.values())[40:])
    assert spent(tmp_path).usd == pytest.approx(shop.usd)
    assert open_batches(tmp_path) == []


def test_an_entry_that_cannot_be_is_a_row_and_one_that_stops_everything_stops(tmp_path: Path) -> None:
    shop = Shop(lambda number: ProviderError("too long", "item") if number == 4 else LETTER)
    assert sorted(judged(Batching(shop), tmp_path / "a")) == ["failed"] + ["ok"] * 39
    assert (len(shop.batches), shop.alone) == (2, 0)
    shop = Shop(lambda number: ProviderError("quota", "run") if number == 4 else LETTER)
    with pytest.raises(RunFailed, match="quota"):
        judged(Batching(shop), tmp_path / "b")
    assert statuses(tmp_path / "b") == ["ok"] * 39
    assert spent(tmp_path / "b").usd == pytest.approx(shop.usd)


@pytest.mark.parametrize("mode", [True, False])
def test_a_batch_that_an_earlier_command_left_open_is_fetched(tmp_path: Path, mode: bool) -> None:
    shop = Shop(polls=0)
    with pytest.raises(RunFailed, match=r"401.*same command"):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    (batch,) = open_batches(tmp_path)
    assert (batch.id, batch.state, len(batch.keys)) == ("batch-0", "sent", 20)
    assert spent(tmp_path).usd > shop.usd  # its worst case
    # Also where the batch API is not to be used any more, and more is asked for.
    judged(Batching(shop), tmp_path, 15, batch=mode)
    assert len(statuses(tmp_path)) == 30
    assert (len(shop.batches), shop.alone) == ((2, 0) if mode else (1, 10))
    assert spent(tmp_path).usd == pytest.approx(shop.usd)
    assert open_batches(tmp_path) == []


def test_a_batch_of_which_only_a_part_is_wanted_stays_open_for_the_rest(tmp_path: Path) -> None:
    shop = Shop(polls=0)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    judged(Batching(shop), tmp_path, 4)
    assert (len(statuses(tmp_path)), [len(batch.keys) for batch in open_batches(tmp_path)]) == (8, [12])
    judged(Batching(shop), tmp_path, 10)
    assert (len(statuses(tmp_path)), len(open_batches(tmp_path)), len(shop.batches)) == (20, 0, 1)
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_what_failed_in_a_batch_of_which_a_part_is_wanted_is_asked_again_and_settled_once(tmp_path: Path) -> None:
    shop = Shop(lambda number: ProviderError("too long", "item") if number < 4 else LETTER, polls=0)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 15)
    judged(Batching(shop), tmp_path, 10)
    booked, paid = spent(tmp_path).usd, shop.usd
    for _ in range(3):
        judged(Batching(shop), tmp_path, 10)
        assert spent(tmp_path).usd - booked == pytest.approx(shop.usd - paid)
    assert len(shop.batches) == 2
    assert judged(Batching(shop), tmp_path, 15) == ["ok"] * 30
    assert (len(shop.batches), open_batches(tmp_path)) == (2, [])
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


class Jointly(Batching):
    capabilities = Capabilities(structured=True)


def test_a_joint_batch_is_settled_by_its_requests_not_by_their_rows(tmp_path: Path) -> None:
    shop = Shop(lambda number: Answer(text='{"1": "A", "2": "A"}', usage=LETTER.usage), polls=0)
    joint = {"principles": (BETTER, WORSE), "joint": True}
    with pytest.raises(RunFailed):
        judged(Jointly(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10, **joint)
    for pairs, left in ((4, [12]), (4, [12]), (10, [])):
        assert judged(Jointly(shop), tmp_path, pairs, **joint) == ["ok"] * 4 * pairs
        assert [len(batch.keys) for batch in open_batches(tmp_path)] == left
    assert len(shop.batches) == 1
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_a_batch_cut_off_while_its_answers_are_committed_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, written = Shop(polls=0), list[int]()
    write = Ledger.write

    def full_disk(ledger: Ledger, rows: Sequence[Row], *more: Any, **named: Any) -> None:
        written.append(len(rows))
        if sum(written) > 6:
            raise RunFailed("disk full")
        write(ledger, rows, *more, **named)

    monkeypatch.setattr(batching, "COMMITTED", 6)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", full_disk)
        with pytest.raises(RunFailed, match="disk full"):
            judged(Batching(shop), tmp_path, 10)
    assert (len(statuses(tmp_path)), [len(batch.keys) for batch in open_batches(tmp_path)]) == (6, [14])
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), open_batches(tmp_path)) == (1, [])
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_another_run_may_fetch_a_batch_and_the_first_one_has_paid(tmp_path: Path) -> None:
    shop = Shop(polls=0)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10, name="first-run")
    judged(Batching(shop), tmp_path, 10, name="second", budget=Budget(usd=0.0))
    assert (spent(tmp_path, "first-run").usd, spent(tmp_path, "second").usd) == (pytest.approx(shop.usd), 0.0)


class Crowded(Batching):
    """Its queue holds so many requests at a time; `tried` keeps the sizes of the batches, and whether they fitted."""

    def __init__(self, shop: Shop, room: int) -> None:
        super().__init__(shop)
        self.room, self.tried = room, list[tuple[int, bool]]()

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        fits = len(requests) <= self.room
        self.tried.append((len(requests), fits))
        if not fits:
            return "refused"
        self.room -= len(requests)
        return await super().submit(requests, name=name)

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        if batch == "refused":
            raise ProviderError("token_limit_exceeded", "item", reason="full")
        results = await super().fetch(batch)
        if results is not None:
            self.room += len(results)
        return results


def test_a_batch_too_large_for_the_servers_queue_goes_in_halves_and_never_alone(tmp_path: Path) -> None:
    shop = Shop()
    provider = Crowded(shop, 4)
    assert judged(provider, tmp_path, 10) == ["ok"] * 20
    assert provider.tried[:3] == [(20, False), (10, False), (5, False)]
    assert (shop.alone, max(len(keys) for keys in shop.batches.values())) == (0, 2)
    assert spent(tmp_path).usd == pytest.approx(shop.usd)
    assert open_batches(tmp_path) == []


def test_a_batch_that_others_leave_no_room_for_waits_for_them_whole(tmp_path: Path) -> None:
    shop = Shop(polls=5)
    provider = Crowded(shop, 30)
    assert judged(provider, tmp_path, 60) == ["ok"] * 120
    assert sorted(provider.tried) == [(30, False)] * 3 + [(30, True)] * 4
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_where_not_even_one_request_fits_a_user_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"no room.*token_limit_exceeded.*judging\.batch: false"):
        judged(Crowded(Shop(), 0), tmp_path, 3)
    assert (spent(tmp_path), open_batches(tmp_path), statuses(tmp_path)) == (Amount(), [], [])


def test_a_batch_refused_for_want_of_room_after_its_command_ended_is_handed_in_anew(tmp_path: Path) -> None:
    shop = Shop(polls=0)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    shop.usd = 0.0  # none of it was answered
    full = ProviderError("token_limit_exceeded", "item", reason="full")
    assert judged(Batching(shop, {"fetch": full}), tmp_path, 10) == ["ok"] * 20
    assert (shop.alone, open_batches(tmp_path)) == (0, [])
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_a_budget_cuts_batches_and_is_never_passed(tmp_path: Path) -> None:
    shop, budget = Shop(), Budget(usd=0.15)
    with pytest.raises(RunFailed, match="budget reached"):
        judged(Batching(shop), tmp_path, 40, budget=budget)
    assert 0.1 < shop.usd <= 0.15
    assert max(len(keys) for keys in shop.batches.values()) < 30
    assert spent(tmp_path).usd == pytest.approx(shop.usd)
    assert judged(Batching(shop), tmp_path, 40, budget=Budget(usd=10.0)) == ["ok"] * 80
