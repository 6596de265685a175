"""The ledger: a SQLite row per answered request, the system of record; one writer; nothing committed is lost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, cast

from morlaif_core.errors import Busy, RunFailed, UserError

from .verdict import HARD, Counts, Reading, Status

FORMAT = 1
APPLICATION = 0x4D4F524C  # "MORL", in the file's header
_CHUNK = 500  # below SQLite's limit of bound variables
_LOCKS: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """One request's outcome. ``p_first``, ``logit``: before `picks`; seconds: of the last attempt; cost in USD."""

    key: str
    pair: str
    principle: str
    question_hash: str
    order: str
    judge: str
    model: str
    model_returned: str
    mode: str
    template: str
    status: Status
    verdict: str | None
    p_first: float | None
    logit: float | None
    label_mass: float | None
    censored: bool
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cost: float | None
    attempts: int
    maybe_billed: int
    seconds: float
    error: str | None
    answer: str | None


_NAMES = [field.name for field in fields(Row)]
_TYPES = {"key": "TEXT PRIMARY KEY NOT NULL", "censored": "INTEGER NOT NULL", "cost": "REAL"}
_TYPES |= dict.fromkeys(("tokens_in", "tokens_cached", "tokens_out", "attempts", "maybe_billed"), "INTEGER NOT NULL")
_TYPES |= dict.fromkeys(("p_first", "logit", "label_mass"), "REAL") | {"seconds": "REAL NOT NULL"}
_TYPES |= dict.fromkeys(("verdict", "error", "answer"), "TEXT")
_CREATE = ", ".join(f'"{name}" {_TYPES.get(name, "TEXT NOT NULL")}' for name in _NAMES)
_INSERT = f"INSERT OR REPLACE INTO rows VALUES ({', '.join('?' * len(_NAMES))})"


_READ = "key, status, logit, label_mass, censored, mode, verdict, cost"


def _reading(row: tuple[Any, ...]) -> Reading:
    _, status, logit, mass, censored, mode, verdict, cost = row
    counts = Counts(verdict == "first", verdict == "second", verdict == "tie") if mode in HARD and verdict else None
    return Reading(cast(Status, status), logit, mass, bool(censored), counts=counts, cost=cost)


class Ledger:
    """An open ledger. Raises `UserError` where the file is unusable, `Busy` where another process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            hold_lock(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def readings(self, keys: Iterable[str]) -> dict[str, Reading]:
        """Return what the ledger knows about these keys: a reading for each row, failed ones included."""
        wanted = list(keys)
        found: dict[str, Reading] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            query = f"SELECT {_READ} FROM rows WHERE key IN ({marks})"
            with self._explained():
                found.update((row[0], _reading(row)) for row in self._db.execute(query, part))
        return found

    def rows(self) -> Iterator[Row]:
        """Yield all rows, sorted by key."""
        with self._explained():
            for values in self._db.execute("SELECT * FROM rows ORDER BY key"):
                named = dict(zip(_NAMES, values, strict=True))
                yield Row(**(named | {"censored": bool(named["censored"])}))

    def write(self, rows: Sequence[Row]) -> None:
        """Commit rows in one transaction: all are on disk when this returns, or none. A failed row may be replaced."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(_INSERT, [astuple(row) for row in rows])
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the lock stays with the process."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _prepare(self) -> None:
        with self._explained():
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and application != APPLICATION:
                raise UserError(f"{self.path} is a database, but not a ledger of morlaif; name another file")
            if version > FORMAT:
                raise UserError(
                    f"{self.path} was written by a newer morlaif (format {version}); update, or name another"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            if not tables:
                self._create()

    def _create(self) -> None:
        """Make table and header in one transaction: a kill leaves an empty file or a whole one."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(f"CREATE TABLE rows ({_CREATE}) WITHOUT ROWID")
        self._db.execute(f"PRAGMA application_id = {APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what disk and SQLite report into errors that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise RunFailed(f"cannot write {self.path}: {error}; {_SAFE}, make room and run again") from None
            raise UserError(
                f"cannot use the ledger {self.path}: {error}; check the folder and its permissions"
            ) from None
        except sqlite3.DatabaseError as error:
            advice = "move it away to judge anew, or put back a copy"
            raise UserError(f"the ledger {self.path} is damaged: {error}; {advice}") from None
        except OSError as error:
            raise UserError(f"cannot use the ledger {self.path}: {error.strerror}; check the folder") from None


_SAFE = "rows committed before are intact"


def commonest_error(path: Path) -> str | None:
    """Return the error that most failed requests of a ledger ended with, already redacted; None where there is none."""
    if not path.exists():
        return None
    failed = "SELECT error FROM rows WHERE status = 'failed' AND error IS NOT NULL"
    query = f"{failed} GROUP BY error ORDER BY count(*) DESC LIMIT 1"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        row = db.execute(query).fetchone()
    return None if row is None else str(row[0])


def hold_lock(path: Path) -> None:
    """Lock a ledger for the life of this process. Raises `Busy` where another process holds it.

    The lock lies in a file beside the ledger (SQLite's own locks come and go with each transaction) and dies with the
    process, however it ends.
    """
    beside = path.resolve().with_name(path.name + ".lock")
    held = _LOCKS.get(beside)
    if held is not None and _same_file(held, beside):
        return
    handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Busy(f"another process is judging into {path}; wait for it, or name another ledger") from None
    if held is not None:
        os.close(held)
    _LOCKS[beside] = handle


def _same_file(handle: int, path: Path) -> bool:
    """Say whether the locked file still lies there (a folder may have been removed and made again)."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
