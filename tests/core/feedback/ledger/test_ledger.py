"""The ledger: rows survive, one writer, clear errors."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core.errors import Busy, RunFailed, UserError
from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger, commonest_error, read_rows
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.ledger.tables import Batch, Spent
from morlaif_core.feedback.types import Counts
from tests.helpers.ledger_rows import ROW, as_anybody, rows


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "judgements.sqlite")
    off = replace(ROW, key="k1", status="off_label", logit=None, off_logit=-0.3, label_mass=0.2, censored=True)
    said = replace(
        ROW, key="k2", mode="structured", verdict="tie", logit=0.0, sample=3, run="r", batch=True, wording="w"
    )
    ledger.write([ROW, off, said])
    assert list(ledger.rows()) == [ROW, off, said]
    assert ledger.readings(["k2", "k0", "k1", "k3"]) == {
        "k0": Reading("ok", 1.1, 0.9),
        "k1": Reading("off_label", None, 0.2, True, off=-0.3),
        "k2": Reading("ok", 0.0, 0.9, counts=Counts(0, 0, 1)),
    }
    ledger.close()


def test_rows_are_read_while_another_connection_writes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write(rows(3))
    reader = read_rows(tmp_path / "l.sqlite")
    assert next(reader).key == "k00000"
    ledger.write([replace(ROW, key="z", status="failed", error="HTTP 503")])
    assert [row.key for row in reader] == ["k00001", "k00002"]
    assert commonest_error(tmp_path / "l.sqlite") == "HTTP 503"


def test_what_a_run_spent_adds_up_and_is_committed_with_the_rows(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write([ROW], [Spent("r", "j", 0.25, 1, 100), Spent("r", "other", 0.5, 2, 10), Spent("else", "j", 9.0, 9, 9)])
    ledger.write([], [Spent("r", "j", 0.125, 1, 5)])
    assert spent_by("r", [ledger.path]) == Amount(0.875, 4, 115)
    fill(ledger)
    with pytest.raises(RunFailed, match="full"):
        ledger.write([replace(row, answer="x" * 4000) for row in rows(50)], [Spent("r", "j", 1.0, 1, 1)])
    ledger.close()
    again = Ledger(tmp_path / "l.sqlite")
    assert (spent_by("r", [again.path]), list(again.rows())) == (Amount(0.875, 4, 115), [ROW])


def test_batches_are_open_until_they_are_done(tmp_path: Path) -> None:
    first = Batch("b1", "j", "me", None, "planned", ("k1", "k0"), 10.0)
    second = Batch("b0", "j", "me", "id-7", "sent", ("k2",), 20.0)
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write([], batches=[second])
    ledger.write([], batches=[first, Batch("b2", "j", "another", None, "planned", (), 5.0)])
    assert ledger.open_batches("me") == [first, second]
    sent = replace(first, id="id-9", state="sent")
    ledger.write([ROW], [Spent("r", "j", 1.0, 1, 1)], [sent, replace(second, state="done")])
    ledger.close()
    assert Ledger(tmp_path / "l.sqlite").open_batches("me") == [sent]


def test_a_failed_row_is_replaced(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write([replace(ROW, status="failed", logit=None)])
    ledger.write([ROW])
    assert list(ledger.rows()) == [ROW]


def test_many_keys_are_looked_up_in_parts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write(rows(2000))
    assert len(ledger.readings(f"k{i:05d}" for i in range(3000))) == 2000


def test_wal_and_full_synchronous(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)


HOLDER = """
import sys, time
from pathlib import Path
from morlaif_core.feedback.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="another process") as refused:
            Ledger(path)
        assert refused.value.exit_code == 75
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close() if holder.stdout else None
    Ledger(path).write([ROW])


def test_the_lock_outlives_close_and_serves_the_same_process_again(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).close()
    Ledger(path).close()
    code = (
        f"from pathlib import Path; from morlaif_core.feedback.ledger.ledger import Ledger; Ledger(Path({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Busy" in done.stderr


@pytest.mark.parametrize(
    "content", [b"this is no database at all, by any means" * 50, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_broken_ledger_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"l\.sqlite"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_strangers_database_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(UserError, match="not a MORLAIF ledger"):
        Ledger(tmp_path / "other.sqlite")
    Ledger(tmp_path / "new.sqlite").close()
    with sqlite3.connect(tmp_path / "new.sqlite") as newer:
        newer.execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="newer"):
        Ledger(tmp_path / "new.sqlite")


OPENER = """
import sys
from pathlib import Path
from morlaif_core.feedback.ledger.ledger import Ledger
Ledger(Path(sys.argv[1])).write([])
"""


@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder_is_explained(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "ro" / "l.sqlite"
    path.parent.mkdir()
    if there:
        Ledger(path).close()
        path.with_name("l.sqlite.lock").chmod(0o400)
    path.parent.chmod(0o500)
    done = subprocess.run(
        [sys.executable, "-c", OPENER, str(path)], capture_output=True, text=True, check=False, preexec_fn=as_anybody
    )
    path.parent.chmod(0o700)
    assert "UserError: cannot use the ledger" in done.stderr, done.stderr
    assert "ermission" in done.stderr


def test_a_ledger_path_that_cannot_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot use"):
        Ledger(tmp_path / "file" / "l.sqlite")


def fill(ledger: Ledger) -> None:
    """Leave room for two pages: SQLite's own "disk is full"."""
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")


def test_a_full_disk_loses_nothing_committed(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path)
    ledger.write(rows(50))
    fill(ledger)
    with pytest.raises(RunFailed, match="full"):
        ledger.write([replace(row, answer="x" * 4000) for row in rows(50, start=100)])
    ledger.close()
    assert [row.key for row in Ledger(path).rows()] == [row.key for row in rows(50)]


LIMITED = """
import resource, sys
from pathlib import Path
from tests.helpers.ledger_rows import rows
from morlaif_core.feedback.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for start in range(0, 100_000, 20):
    ledger.write(rows(20, start))
    print(start + 20, flush=True)
"""


def test_files_that_cannot_grow_lose_nothing_committed(tmp_path: Path) -> None:
    """What the kernel says where a disk is full or a quota reached, unlike SQLite's own limit."""
    path = tmp_path / "l.sqlite"
    arguments = [sys.executable, "-c", LIMITED, str(path), "200000"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "RunFailed: cannot write" in done.stderr, done.stderr
    assert "make room and run again" in done.stderr
    committed = int(done.stdout.split()[-1])
    assert committed > 100
    ledger = Ledger(path)
    assert [row.key for row in ledger.rows()] == [row.key for row in rows(committed)]
    ledger.write(rows(20, committed))


@pytest.mark.parametrize("limit", [0, 100, 9000])
def test_no_room_for_a_new_ledger_is_explained(tmp_path: Path, limit: int) -> None:
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + OPENER
    arguments = [sys.executable, "-c", code, str(tmp_path / "l.sqlite")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "RunFailed: cannot write" in done.stderr, done.stderr
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.write([ROW])


WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.helpers.ledger_rows import ROW
from morlaif_core.feedback.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for i in range(10**6):
    ledger.write([replace(ROW, key=f"{i:06d}-{j}") for j in range(20)])
    print(i, flush=True)
"""


def test_kill_nine_loses_no_committed_row(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    arguments = [sys.executable, "-c", WRITER, str(path)]
    writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    last = [writer.stdout.readline() for _ in range(30)][-1]
    writer.send_signal(signal.SIGKILL)
    last = ([last, *writer.stdout.readlines()])[-1]
    writer.wait()
    writer.stdout.close()
    kept = [row.key for row in Ledger(path).rows()]
    assert len(kept) % 20 == 0
    assert len(kept) >= 20 * (int(last) + 1)
