"""Grouped commits: when they come, who waits for them, and what a failed one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from morlaif_core.errors import RunFailed
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.commits import GroupCommit
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.ledger.tables import Batch, Row, Spent
from tests.helpers.ledger_rows import ROW

BATCH = Batch("b", "j", "me", None, "planned", (), 1.0)


class Counting:
    """Keeps how many rows each commit had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def write(self, rows: Sequence[Row], spent: Sequence[Spent], batches: Sequence[Batch]) -> None:
        self.sizes.append(len(rows))


def test_commits_come_at_twenty_rows_when_all_wait_or_after_fifty_ms() -> None:
    async def bring(slots: int, n: int) -> tuple[list[int], float]:
        ledger = Counting()
        group = GroupCommit(ledger)  # type: ignore[arg-type]
        group.slots = slots
        started = time.perf_counter()
        await asyncio.gather(*(group.put([ROW]) for _ in range(n)))
        return ledger.sizes, time.perf_counter() - started

    assert asyncio.run(bring(64, 45))[0] == [20, 20, 5]
    tried = [asyncio.run(bring(8, 8)) for _ in range(10)]
    assert all(sizes == [8] for sizes, _ in tried)
    assert min(seconds for _, seconds in tried) < 0.04  # all slots waited: no timer
    sizes, seconds = asyncio.run(bring(8, 3))
    assert sizes == [3]
    assert seconds >= 0.04


def test_a_slot_is_free_only_when_its_row_is_on_disk(tmp_path: Path) -> None:
    """Twelve workers, half of whom wait long for something else: these hold no row, nobody waits for them."""
    ledger = Ledger(tmp_path / "l.sqlite")
    reader = Ledger(tmp_path / "l.sqlite")  # a connection of its own: it sees what is committed

    async def work(group: GroupCommit, worker: int, gate: asyncio.Event) -> float:
        longest = 0.0
        for i in range(10):
            if worker % 2 and i == 5:
                await gate.wait()
            await asyncio.sleep(0.001)
            started = time.perf_counter()
            await group.put([replace(ROW, key=f"{worker}-{i}")], [Spent("r", "j", 0.5, 1, 2)])
            longest = max(longest, time.perf_counter() - started)
            assert reader.readings([f"{worker}-{i}"])
        group.leave()
        return longest

    async def all_of_them() -> list[float]:
        group, gate = GroupCommit(ledger), asyncio.Event()
        group.slots = 12
        workers = [asyncio.create_task(work(group, worker, gate)) for worker in range(12)]
        first = [worker for number, worker in enumerate(workers) if number % 2 == 0]
        await asyncio.wait(first)
        gate.set()
        return await asyncio.gather(*workers)

    assert max(asyncio.run(all_of_them())) < 0.5
    assert len(list(ledger.rows())) == 120
    assert spent_by("r", [ledger.path]) == Amount(60.0, 120, 240)


def test_what_is_spent_without_a_row_and_batches_are_committed_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")

    async def bring() -> None:
        group = GroupCommit(ledger)
        group.slots = 2
        await asyncio.gather(group.put([], [Spent("r", "j", 1.0, 1, 9)]), group.put([], batches=[BATCH]))

    asyncio.run(bring())
    assert spent_by("r", [ledger.path]) == Amount(1.0, 1, 9)
    assert ledger.open_batches("me") == [BATCH]


def test_the_row_of_a_cancelled_worker_is_written_all_the_same(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")

    async def bring() -> None:
        group = GroupCommit(ledger)
        group.slots = 2
        worker = asyncio.create_task(group.put([ROW]))
        await asyncio.sleep(0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        group.flush()

    asyncio.run(bring())
    assert list(ledger.rows()) == [ROW]


def test_a_failed_commit_reaches_all_who_wait_and_not_who_leaves() -> None:
    class Full:
        def write(self, rows: Sequence[Row], spent: Sequence[Spent], batches: Sequence[Batch]) -> None:
            raise RunFailed("full")

    async def bring() -> list[BaseException | None]:
        group = GroupCommit(Full())  # type: ignore[arg-type]
        group.slots = 3
        waiting = asyncio.gather(group.put([ROW]), group.put([ROW]), return_exceptions=True)
        await asyncio.sleep(0)
        group.leave()
        return await waiting

    assert [str(error) for error in asyncio.run(bring())] == ["full", "full"]
