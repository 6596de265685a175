"""The ledger: a SQLite row per answered request, the system of record; one writer; nothing committed is lost."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

from morlaif_core.feedback.answers.verdict import Reading
from morlaif_core.feedback.types import HARD, Counts, Status

from .file import explained, open_for_reading, open_for_writing, transaction
from .tables import ADD_SPENT, INSERT_BATCH, INSERT_ROW, Batch, Row, Spent, batch_of, batch_values, row_of, row_values

_CHUNK = 500  # below SQLite's limit of bound variables
_READ = "SELECT key, status, logit, label_mass, censored, off_logit, mode, verdict, cost FROM rows"


class Ledger:
    """An open ledger. Raises `UserError` where the file is unusable, `Busy` where another process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_for_writing(path)

    def readings(self, keys: Iterable[str]) -> dict[str, Reading]:
        """Return what the ledger knows about these keys: a reading for each row, failed ones included."""
        # Sorted: neighbours lie on one page of the file.
        wanted = sorted(keys)
        found: dict[str, Reading] = {}
        with explained(self.path):
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                query = f"{_READ} WHERE key IN ({', '.join('?' * len(part))})"
                # The caller's own keys: a copy of each costs as much memory as its reading.
                own = {key: key for key in part}
                found.update((own[row[0]], _reading(row)) for row in self._db.execute(query, part))
        return found

    def answer(self, key: str) -> str | None:
        """Return the answer that a row keeps, as JSON; None where there is none."""
        with explained(self.path):
            row = self._db.execute("SELECT answer FROM rows WHERE key = ?", [key]).fetchone()
        return None if row is None else row[0]

    def rows(self) -> Iterator[Row]:
        """Yield all rows, sorted by key."""
        with explained(self.path):
            yield from _rows(self._db)

    def write(self, rows: Sequence[Row], spent: Sequence[Spent] = (), batches: Sequence[Batch] = ()) -> None:
        """Commit in one transaction: all is on disk when this returns, or nothing.

        rows: a failed one may be replaced. spent: added to what the run has spent on that judge. batches: replace what
        is known of them.
        """
        with explained(self.path), transaction(self._db):
            self._db.executemany(INSERT_ROW, map(row_values, rows))
            self._db.executemany(ADD_SPENT, map(astuple, spent))
            self._db.executemany(INSERT_BATCH, map(batch_values, batches))

    def open_batches(self, identity: str) -> list[Batch]:
        """Return a provider's batches that are not done, the oldest first."""
        query = "SELECT * FROM batches WHERE identity = ? AND state != 'done' ORDER BY created, name"
        with explained(self.path):
            return [batch_of(values) for values in self._db.execute(query, [identity])]

    def close(self) -> None:
        """Close the file; the lock stays with the process."""
        # Nothing is open any more: a full disk must not hide the error that it caused before.
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def _reading(row: tuple[Any, ...]) -> Reading:
    _, status, logit, mass, censored, off, mode, verdict, cost = row
    counts = Counts(verdict == "first", verdict == "second", verdict == "tie") if verdict and mode in HARD else None
    return Reading(cast(Status, status), logit, mass, bool(censored), off, counts, cost)


def _rows(db: sqlite3.Connection) -> Iterator[Row]:
    cursor = db.execute("SELECT * FROM rows ORDER BY key")
    # By name, since a ledger of an earlier format that is only read has fewer columns.
    names = tuple(column[0] for column in cursor.description)
    for values in cursor:
        yield row_of(names, values)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield a ledger's rows, sorted by key, also while another process writes it. Raises `UserError`."""
    with open_for_reading(path) as db:
        yield from _rows(db)


def commonest_error(path: Path) -> str | None:
    """Return the error that most failed requests of a ledger ended with, already redacted; None where there is none."""
    if not path.exists():
        return None
    failed = "SELECT error FROM rows WHERE status = 'failed' AND error IS NOT NULL"
    with open_for_reading(path) as db:
        row = db.execute(f"{failed} GROUP BY error ORDER BY count(*) DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])
