"""Batch APIs: half the price, nothing bought twice, whatever interrupts the waiting."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.config.judge_settings import Budget, Price
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.ledger.tables import Batch, Row
from morlaif_core.feedback.sending import batches as batching
from morlaif_core.feedback.sending.http_errors import provider_error
from morlaif_core.types import Answer, Capabilities, ProviderError, Request, Usage
from tests.core.judging_tools import BETTER, WORSE, Letters, run, some_pairs

PRICE = Price(input=100.0, output=1000.0)
Entry = Callable[[int], "Answer | ProviderError | None"]
"""By number of the entry, counted over all batches: what came of it; None: it is not among the results."""


class Shop:
    """A provider's side: what it took in and what that cost. It outlives the commands that ask it."""

    def __init__(self, entry: Entry = lambda number: LETTER, *, named: bool = True, polls: int = 2) -> None:
        self.entry, self.named, self.polls, self.listed = entry, named, polls, True
        self.batches: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.looks: dict[str, int] = {}
        self.alone, self.usd = 0, 0.0
        self.said: dict[str, Answer | ProviderError | None] = {}


LETTER = Answer(text="A", usage=Usage(input=100, output=1))


class Batching:
    """Speaks for a shop. broken: raised once by the next call of that name, after it took effect."""

    identity = "batching-1"
    capabilities = Capabilities()
    max_batch_requests = 30

    def __init__(self, shop: Shop, broken: Mapping[str, ProviderError] | None = None, *, refuses: bool = False) -> None:
        self.shop, self._broken, self._refuses = shop, dict(broken or {}), refuses

    async def ask(self, request: Request) -> Answer:
        self.shop.alone += 1
        self.shop.usd += (100 * PRICE.input + PRICE.output) / 1e6
        return LETTER

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        if self._refuses:
            raise self._broken["submit"]
        number = f"batch-{len(self.shop.batches)}"
        self.shop.batches[number] = list(requests)
        self.shop.names[name] = number
        for key in requests:
            said = self.shop.said[number + key] = self.shop.entry(len(self.shop.said))
            if isinstance(said, Answer):
                self.shop.usd += (100 * PRICE.input + PRICE.output) / 2e6
        await self._break("submit")
        return number

    async def find(self, name: str) -> str | None:
        if not self.shop.named:
            raise ProviderError("no names are kept", "item")
        return self.shop.names.get(name) if self.shop.listed else None

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        await self._break("fetch")
        self.shop.looks[batch] = self.shop.looks.get(batch, 0) + 1
        if self.shop.looks[batch] <= self.shop.polls:
            return None
        said = {key: self.shop.said[batch + key] for key in reversed(self.shop.batches[batch])}
        return {key: found for key, found in said.items() if found is not None}

    async def _break(self, call: str) -> None:
        await asyncio.sleep(0)
        if call in self._broken:
            raise self._broken.pop(call)


def judged(provider: object, folder: Path, pairs: int = 20, **more: object) -> list[str]:
    """Judge in batches and return the statuses of the rows."""
    run(provider, some_pairs(pairs), folder, **{"price": PRICE, "name": "r", "batch": True, **more})  # type: ignore[arg-type]
    return statuses(folder)


def statuses(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "judgements.sqlite") as db:
        return [status for (status,) in db.execute("SELECT status FROM rows")]


def open_batches(folder: Path) -> list[Batch]:
    ledger = Ledger(folder / "judgements.sqlite")
    found = ledger.open_batches(Batching.identity)
    ledger.close()
    return found


def spent(folder: Path, name: str = "r") -> Amount:
    return spent_by(name, [folder / "judgements.sqlite"])


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


def doubtful() -> ProviderError:
    return ProviderError("no answer within 600 s", "transient", billed=True)


BROKEN_OFF = [doubtful(), *(provider_error(status, "", {}) for status in (409, 500, 502, 503, 520, 529))]


@pytest.mark.parametrize("error", BROKEN_OFF, ids=str)
def test_a_batch_that_was_taken_without_our_knowing_is_found(tmp_path: Path, error: ProviderError) -> None:
    shop = Shop()
    assert judged(Batching(shop, {"submit": error}), tmp_path, 10) == ["ok"] * 20
    assert len(shop.batches) == 1
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_a_batch_that_never_left_is_handed_in_again(tmp_path: Path) -> None:
    class Unreached(Batching):
        async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
            await self._break("submit")
            return await super().submit(requests, name=name)

    shop = Shop(named=False)  # to be asked about it would end this
    refused = ProviderError("cannot be reached", "transient", reason="unsent")
    assert judged(Unreached(shop, {"submit": refused}), tmp_path, 10) == ["ok"] * 20
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


def test_where_nobody_can_tell_a_user_decides(tmp_path: Path) -> None:
    shop = Shop(named=False)
    with pytest.raises(RunFailed, match=r"whether it took a batch of 20 requests \(no answer within 600 s\)"):
        judged(Batching(shop, {"submit": doubtful()}), tmp_path, 10)
    assert (statuses(tmp_path), open_batches(tmp_path)) == ([], [])
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert len(shop.batches) == 2
    assert spent(tmp_path).usd > shop.usd  # the lost one counts as its worst case


def test_a_batch_that_is_listed_late_is_found_by_the_next_command(tmp_path: Path) -> None:
    shop = Shop()
    shop.listed = False
    with pytest.raises(RunFailed, match="whether it took a batch"):
        judged(Batching(shop, {"submit": doubtful()}), tmp_path, 10)
    shop.listed = True
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), open_batches(tmp_path)) == (1, [])
    assert spent(tmp_path).usd == pytest.approx(shop.usd)


@pytest.mark.parametrize(("named", "taken"), [(True, True), (True, False), (False, True)])
def test_a_kill_while_a_batch_is_handed_in(tmp_path: Path, named: bool, taken: bool) -> None:
    shop = Shop(named=named)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    ledger = Ledger(tmp_path / "judgements.sqlite")
    (batch,) = ledger.open_batches(Batching.identity)
    ledger.write((), batches=[replace(batch, id=None, state="planned")])  # what a kill right after its creation leaves
    ledger.close()
    if not taken:
        shop.names.clear()
    if not named:  # asks once, then goes on
        with pytest.raises(RunFailed, match=r"took a batch of 20 requests \(the command was killed\)"):
            judged(Batching(shop), tmp_path, 10)
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), open_batches(tmp_path)) == (1 if named and taken else 2, [])


REFUSED = [
    ProviderError("no such API", "run"),
    ProviderError("no such API", "item"),
    ProviderError("cannot be reached", "transient", reason="unsent"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda error: error.kind)
def test_a_batch_that_is_refused_costs_nothing(tmp_path: Path, refused: ProviderError) -> None:
    with pytest.raises(RunFailed, match=rf"judge 'j'.*{refused}.*same command"):
        judged(Batching(Shop(), {"submit": refused}, refuses=True), tmp_path)
    assert (spent(tmp_path), open_batches(tmp_path)) == (Amount(), [])


def test_a_batch_that_fails_as_a_whole_is_not_looked_at_for_ever(tmp_path: Path) -> None:
    shop = Shop()
    with pytest.raises(RunFailed, match=r"cannot be fetched: invalid file.*same command"):
        judged(Batching(shop, {"fetch": ProviderError("invalid file", "item")}), tmp_path, 10)
    assert (spent(tmp_path), open_batches(tmp_path)) == (Amount(), [])
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20


def test_a_batch_that_the_server_no_longer_has_is_given_up_at_its_worst_case(tmp_path: Path) -> None:
    shop = Shop(polls=0)
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    worst = spent(tmp_path)
    gone = provider_error(404, '{"error": {"message": "No such batch"}}', {})
    with pytest.raises(RunFailed, match=r"no longer has.*No such batch.*next command hands it in anew"):
        judged(Batching(shop, {"fetch": gone}), tmp_path, 4)
    assert (spent(tmp_path), open_batches(tmp_path)) == (worst, [])
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), spent(tmp_path).usd) == (2, pytest.approx(worst.usd + shop.usd / 2))


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


def test_a_batch_too_old_to_be_kept_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(batching, "MAX_AGE", -1.0)
        assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), open_batches(tmp_path)) == (2, [])


def test_a_budget_cuts_batches_and_is_never_passed(tmp_path: Path) -> None:
    shop, budget = Shop(), Budget(usd=0.15)
    with pytest.raises(RunFailed, match="budget reached"):
        judged(Batching(shop), tmp_path, 40, budget=budget)
    assert 0.1 < shop.usd <= 0.15
    assert max(len(keys) for keys in shop.batches.values()) < 30
    assert spent(tmp_path).usd == pytest.approx(shop.usd)
    assert judged(Batching(shop), tmp_path, 40, budget=Budget(usd=10.0)) == ["ok"] * 80


INTERRUPTED = """
import sys
from pathlib import Path
from tests.core.test_batching import *
class Slow(Batching):
    async def fetch(self, batch):
        with open(sys.argv[1] + "/waiting", "a") as said:
            said.write("x")
        return None
try:
    run(Slow(Shop()), some_pairs(10), Path(sys.argv[1]), price=PRICE, name="r", batch=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_leaves_the_batch_open_and_the_next_command_fetches_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path)], cwd=Path.cwd())
    while process.poll() is None and not (tmp_path / "waiting").exists():
        pass
    process.send_signal(number)
    assert process.wait(timeout=10) == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    (batch,) = open_batches(tmp_path)
    assert batch.state == "sent"
    shop = Shop()
    assert batch.id is not None
    shop.batches[batch.id] = list(batch.keys)
    shop.said = {batch.id + key: LETTER for key in batch.keys}
    assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert len(shop.batches) == 1
    assert spent(tmp_path) == Amount(pytest.approx(20 * (100 * 100 + 1000) / 2e6), 20, 20 * 101)  # type: ignore[arg-type]
