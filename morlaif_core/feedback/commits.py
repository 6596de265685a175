"""Grouped commits: rows reach the disk together, and whoever wrote one waits until it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .ledger import Ledger, Row

MAX_ROWS = 20
MAX_SECONDS = 0.05


class GroupCommit:
    """Collects rows of one ledger: commits at 20 rows, after 50 ms, or when every slot waits for a commit.

    ``slots`` is how many workers may still bring rows: added to when they start, each calls `leave` at its end.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.slots = 0
        self.ledger = ledger
        self._rows: list[Row] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def put(self, rows: Sequence[Row]) -> None:
        """Return when these rows are on disk. Raises what `Ledger.write` raises."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._rows += rows
        self._waiting.append(done)
        if len(self._rows) >= MAX_ROWS or len(self._waiting) >= self.slots:
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
        rows, waiting, self._rows, self._waiting, self._timer = self._rows, self._waiting, [], [], None
        error: Exception | None = None
        try:
            if rows:
                self.ledger.write(rows)
        except Exception as failure:  # handed to those who wait
            error = failure
        for done in waiting:
            if done.done():  # its worker was cancelled; the row is written all the same
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
