"""A ledger's file: opened and locked by one process, upgraded in place, its troubles explained."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from morlaif_core.errors import Busy, RunFailed, UserError

from .tables import ADDED, BATCHES, ROWS, SPENDING, column

FORMAT = 2
APPLICATION = 0x4D4F524C  # "MORL", in the file's header
# Kept open for the life of the process: closing a handle would let its lock go.
_LOCKS: dict[Path, int] = {}
_SAFE = "rows committed before are intact"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open a ledger, made where there is none, and hold it. Raises `UserError`, `Busy`, `RunFailed` (no room)."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before the file is opened, since `_prepare` may upgrade it.
        hold_lock(path)
        # No implicit transactions, as `transaction` begins its own; other threads, as a notebook's judging runs in one.
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    return db


@contextlib.contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger that another process may be writing, of this format or an earlier one, and read from it."""
    with explained(path), contextlib.ExitStack() as stack:
        # Read only: a plain connect would make the file where it is missing.
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        stack.callback(db.close)
        if _check(db, path) is None:  # killed before its tables were made: it holds nothing
            db = sqlite3.connect(":memory:")
            stack.callback(db.close)
            _make_tables(db, None)
        yield db


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what disk and SQLite report into errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        # Disk trouble is told apart, since what is committed is safe then and the same command goes on.
        if "full" in str(error) or "disk I/O" in str(error):
            raise RunFailed(f"cannot write {path}: {error}; {_SAFE}, make room and run again") from None
        raise UserError(f"cannot use the ledger {path}: {error}; check the folder and its permissions") from None
    except sqlite3.DatabaseError as error:
        advice = "move it away to judge anew, or put back a copy"
        raise UserError(f"the ledger {path} is damaged: {error}; {advice}") from None
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise RunFailed(f"cannot write {path}: {error.strerror}; {_SAFE}, make room and run again") from None
        raise UserError(f"cannot use the ledger {path}: {error.strerror}; check the folder") from None


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, all of it or nothing."""
    # With the write lock from the start: a plain BEGIN may meet another writer halfway.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself, as it does on a full disk; the first error is the one to see.
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _check(db: sqlite3.Connection, path: Path) -> int | None:
    """Return a ledger's format, None for an empty file. Raises `UserError` for another program's or a newer one."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    # An empty file has no mark yet: it was made by a process that was killed before its first commit.
    if tables and application != APPLICATION:
        raise UserError(f"{path} is a database, but not a MORLAIF ledger; name another file")
    if version > FORMAT:
        raise UserError(f"{path} was written by a newer morlaif (format {version}); update, or name another")
    return int(version) if tables else None


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Bring tables and header to this format in one transaction: a kill leaves the file as it was, or whole."""
    version = _check(db, path)
    # WAL: `status` and `export` read while a run writes.
    db.execute("PRAGMA journal_mode = WAL")
    # FULL: in WAL mode NORMAL may lose the last commits when the power fails.
    db.execute("PRAGMA synchronous = FULL")
    if version == FORMAT:
        return
    with transaction(db):
        _make_tables(db, version)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")


def _make_tables(db: sqlite3.Connection, version: int | None) -> None:
    for statement in [ROWS] if version is None else [f"ALTER TABLE rows ADD COLUMN {column(name)}" for name in ADDED]:
        db.execute(statement)
    db.execute(SPENDING)
    db.execute(BATCHES)


def hold_lock(path: Path) -> None:
    """Lock a ledger for the life of this process. Raises `Busy` where another process holds it.

    The lock lies in a file beside the ledger (SQLite's own locks come and go with each transaction) and dies with the
    process, however it ends.
    """
    # resolve: two ways to one file, as by a link, are one lock.
    beside = path.resolve().with_name(path.name + ".lock")
    held = _LOCKS.get(beside)
    if held is not None and _same_file(held, beside):
        return
    # O_CLOEXEC, or a child process would hold the lock after this one has ended.
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
