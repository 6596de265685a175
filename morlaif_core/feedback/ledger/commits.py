"""Grouped commits: rows reach the disk together, and whoever wrote one waits until it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from .ledger import Ledger
from .tables import Batch, Row, Spent

MAX_ROWS = 20
MAX_SECONDS = 0.05


class _Waiting(NamedTuple):
    rows: Sequence[Row]
    spent: Sequence[Spent]
    batches: Sequence[Batch]
    done: asyncio.Future[None]


class GroupCommit:
    """Collects rows of one ledger: commits at 20 rows, after 50 ms, or when every slot waits for a commit.

    ``slots`` is how many workers may still bring rows: added to when they start, each calls `leave` at its end. A worker
    that waits for something else (a rate, a budget) holds no row; who waits for a commit waits 50 ms for it at most.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.slots = 0
        self.ledger = ledger
        self._waiting: list[_Waiting] = []
        self._rows = 0
        self._timer: asyncio.TimerHandle | None = None

    async def put(self, rows: Sequence[Row], spent: Sequence[Spent] = (), batches: Sequence[Batch] = ()) -> None:
        """Return when all of it is on disk, in one transaction. Raises what `Ledger.write` raises."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append(_Waiting(rows, spent, batches, done))
        self._rows += len(rows)
        # When every slot waits, no further row can come: to wait for the timer would be idle.
        if self._rows >= MAX_ROWS or len(self._waiting) >= self.slots:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(MAX_SECONDS, self.flush)
        await done

    def leave(self) -> None:
        """A worker ends: those who wait no longer wait for its row."""
        self.slots -= 1
        if self._waiting and len(self._waiting) >= self.slots:
            self.flush()

    def flush(self) -> None:
        """Commit what has come."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting, self._rows, self._timer = self._waiting, [], 0, None
        # In the loop's thread: a commit is a few milliseconds, and SQLite has one writer.
        error = self._write(waiting)
        for one in waiting:
            if one.done.done():  # its worker was cancelled; the row is written all the same
                continue
            if error is None:
                one.done.set_result(None)
            else:
                one.done.set_exception(error)

    def _write(self, waiting: Sequence[_Waiting]) -> Exception | None:
        """Return what went wrong: it is for those who wait, whoever happens to flush."""
        rows = [row for one in waiting for row in one.rows]
        spent = [part for one in waiting for part in one.spent]
        batches = [batch for one in waiting for batch in one.batches]
        try:
            if rows or spent or batches:
                self.ledger.write(rows, spent, batches)
        except Exception as error:
            return error
        return None
