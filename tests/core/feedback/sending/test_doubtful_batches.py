"""Batches of which nobody knows whether they were taken, that were refused or are gone, and interruptions."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core.errors import RunFailed
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.sending import batches as batching
from morlaif_core.feedback.sending.http_errors import provider_error
from morlaif_core.types import ProviderError, Request
from tests.helpers.batch_shop import LETTER, Batching, Shop, judged, open_batches, spent, statuses


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


def test_a_batch_too_old_to_be_kept_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    with pytest.raises(RunFailed):
        judged(Batching(shop, {"fetch": ProviderError("401", "run")}), tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(batching, "MAX_AGE", -1.0)
        assert judged(Batching(shop), tmp_path, 10) == ["ok"] * 20
    assert (len(shop.batches), open_batches(tmp_path)) == (2, [])


INTERRUPTED = """
import sys
from pathlib import Path
from tests.helpers.batch_shop import *
from tests.helpers.known_judges import run, some_pairs
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
