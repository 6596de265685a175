"""The ledger: rows survive, one writer, clear errors."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core.errors import Busy, RunFailed, UserError
from morlaif_core.feedback.commits import GroupCommit
from morlaif_core.feedback.ledger import Ledger, Row
from morlaif_core.feedback.verdict import Reading

ROW = Row(
    key="k0", pair="p", principle="toxicity", question_hash="h", order="ab", judge="j", model="m", model_returned="m1",
    mode="logprob", template="t", status="ok", verdict="first", p_first=0.75, logit=1.1, label_mass=0.9, censored=False,
    tokens_in=10, tokens_cached=2, tokens_out=1, cost=None, attempts=1, maybe_billed=0, seconds=0.2, error=None,
    answer="{}",
)  # fmt: skip


def rows(n: int, start: int = 0) -> list[Row]:
    return [replace(ROW, key=f"k{start + i:05d}") for i in range(n)]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "judgements.sqlite")
    ledger.write([ROW, replace(ROW, key="k1", status="refused", logit=None, censored=True)])
    assert next(iter(ledger.rows())) == ROW
    assert ledger.readings(["k0", "k1", "k2"]) == {
        "k0": Reading("ok", 1.1, 0.9, False),
        "k1": Reading("refused", None, 0.9, True),
    }
    ledger.close()


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
from morlaif_core.feedback.ledger import Ledger
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
    code = f"from pathlib import Path; from morlaif_core.feedback.ledger import Ledger; Ledger(Path({str(path)!r}))"
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
    with pytest.raises(UserError, match="not a ledger"):
        Ledger(tmp_path / "other.sqlite")
    Ledger(tmp_path / "new.sqlite").close()
    with sqlite3.connect(tmp_path / "new.sqlite") as newer:
        newer.execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="newer"):
        Ledger(tmp_path / "new.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.raises(UserError, match="cannot use"):
        Ledger(folder / "l.sqlite")


def test_a_ledger_path_that_cannot_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot use"):
        Ledger(tmp_path / "file" / "l.sqlite")


def test_a_full_disk_loses_nothing_committed(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path)
    ledger.write(rows(50))
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own "disk is full"
    with pytest.raises(RunFailed, match="full"):
        ledger.write([replace(row, answer="x" * 4000) for row in rows(50, start=100)])
    ledger.close()
    assert [row.key for row in Ledger(path).rows()] == [row.key for row in rows(50)]


WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.core.test_ledger import ROW
from morlaif_core.feedback.ledger import Ledger
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


class Counting:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def write(self, rows: list[Row]) -> None:
        self.sizes.append(len(rows))


def test_commits_are_grouped() -> None:
    async def bring(slots: int, n: int) -> tuple[list[int], float]:
        ledger = Counting()
        group = GroupCommit(ledger)  # type: ignore[arg-type]
        group.slots = slots
        started = time.perf_counter()
        await asyncio.gather(*(group.put([ROW]) for _ in range(n)))
        return ledger.sizes, time.perf_counter() - started

    assert asyncio.run(bring(64, 45))[0] == [20, 20, 5]
    sizes, seconds = asyncio.run(bring(8, 8))
    assert sizes == [8]
    assert seconds < 0.04  # all slots waited: no timer
    sizes, seconds = asyncio.run(bring(8, 3))
    assert sizes == [3]
    assert seconds >= 0.04


def test_a_failed_commit_reaches_who_waits() -> None:
    class Full:
        def write(self, rows: list[Row]) -> None:
            raise RunFailed("full")

    async def bring() -> None:
        group = GroupCommit(Full())  # type: ignore[arg-type]
        group.slots = 1
        await group.put([ROW])

    with pytest.raises(RunFailed):
        asyncio.run(bring())
