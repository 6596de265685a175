"""Formats of the ledger: a file that format 1 wrote is read as it is, and upgraded in place by who writes it."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core.errors import UserError
from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.ledger import file as ledger_file
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger, commonest_error, read_rows
from morlaif_core.feedback.ledger.spending import answered_keys, spent_by
from morlaif_core.feedback.ledger.tables import Spent
from morlaif_core.feedback.types import Counts
from tests.helpers.ledger_rows import ROW
from tests.helpers.places import DATA

FORMAT_1 = DATA / "ledger_format_1.sqlite"
"""Written by the first release's code."""
KEPT = [
    ROW,
    replace(
        ROW, key="k1", status="off_label", verdict=None, p_first=None, logit=None, label_mass=0.12, cost=0.0000125,
        censored=True,
    ),
    replace(
        ROW, key="k2", mode="text", template="t2", logit=-1.0986122886681098, p_first=0.25, verdict="second",
        label_mass=None, cost=0.5,
    ),
    replace(
        ROW, key="k3", status="failed", verdict=None, p_first=None, logit=None, label_mass=None, error="HTTP 503: down",
        answer=None, attempts=6, maybe_billed=1,
    ),
]  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(FORMAT_1, tmp_path / "l.sqlite"))


def tables(path: Path) -> tuple[int, set[tuple[str, tuple[object, ...]]]]:
    """A file's format, and its columns as SQLite sees them."""
    with sqlite3.connect(path) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {(name, row) for name in names for row in db.execute(f"PRAGMA table_info({name})")}
    return version, columns


def test_a_ledger_of_format_1_is_upgraded_in_place(old: Path, tmp_path: Path) -> None:
    ledger = Ledger(old)
    assert list(ledger.rows()) == KEPT
    assert ledger.readings(["k0", "k1", "k2", "k3"]) == {
        "k0": Reading("ok", 1.1, 0.9),
        "k1": Reading("off_label", None, 0.12, True, cost=0.0000125),
        "k2": Reading("ok", -1.0986122886681098, None, counts=Counts(0, 1, 0), cost=0.5),
        "k3": Reading("failed"),
    }
    added = replace(ROW, key="k4", off_logit=0.5, wording="w", sample=2, run="r", batch=True)
    ledger.write([replace(KEPT[3], status="ok", logit=1.0), added], [Spent("r", "j", 1.0, 2, 3)])
    ledger.close()
    again = Ledger(old)
    assert list(again.rows()) == [*KEPT[:3], replace(KEPT[3], status="ok", logit=1.0), added]
    assert spent_by("r", [old]) == Amount(1.0, 2, 3)
    Ledger(tmp_path / "new.sqlite").close()
    assert tables(old) == tables(tmp_path / "new.sqlite")


def test_a_ledger_of_format_1_can_be_read_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    assert list(read_rows(old)) == KEPT
    assert commonest_error(old) == "HTTP 503: down"
    assert answered_keys(old) == {"k0", "k1", "k2"}
    assert spent_by("r", [old]) == Amount()
    assert old.read_bytes() == before


def test_a_ledger_whose_tables_were_never_made_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.touch()
    assert (list(read_rows(path)), commonest_error(path), answered_keys(path)) == ([], None, set())
    assert spent_by("r", [path]) == Amount()
    assert path.stat().st_size == 0
    Ledger(path).write([ROW])
    assert list(read_rows(path)) == [ROW]


def test_an_upgrade_is_made_whole_or_not_at_all(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(old)
    with monkeypatch.context() as patch:
        patch.setattr(ledger_file, "BATCHES", "CREATE TABLE batches (no such syntax!)")  # the last statement
        with pytest.raises(UserError, match="unrecognized"):
            Ledger(old)
    assert tables(old) == before
    assert list(Ledger(old).rows()) == KEPT


@pytest.mark.parametrize("reader", [Ledger, lambda path: list(read_rows(path)), commonest_error])
def test_strangers_newer_and_broken_files_are_refused_untouched(tmp_path: Path, reader: type[Ledger]) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE mine (x)")
    Ledger(tmp_path / "new.sqlite").close()
    with sqlite3.connect(tmp_path / "new.sqlite") as newer:
        newer.execute("PRAGMA user_version = 3")
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database at all, by any means" * 50)
    for name, says in (("other", "not a MORLAIF ledger"), ("new", "newer morlaif .format 3"), ("broken", "damaged")):
        before = (tmp_path / f"{name}.sqlite").read_bytes()
        with pytest.raises(UserError, match=says):
            reader(tmp_path / f"{name}.sqlite")
        assert (tmp_path / f"{name}.sqlite").read_bytes() == before
