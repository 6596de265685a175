"""What ledgers say of a run that may be under way: what it has spent, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .amounts import NOTHING, Amount
from .file import open_for_reading


def spent_by(run: str, ledgers: Iterable[Path]) -> Amount:
    """Return what a run has spent, all its commands together; a ledger that is not there yet adds nothing.

    Judges whose price is not known add no money: who asks says so. Raises `UserError`.
    """
    # A file that is named twice must not count twice.
    files = {ledger.resolve() for ledger in ledgers if ledger.exists()}
    return sum((_spent(ledger, run) for ledger in files), NOTHING)


def answered_keys(ledger: Path) -> set[str]:
    """Return the keys of a ledger's rows but for those that failed: what is not asked again. Raises `UserError`."""
    if not ledger.exists():
        return set()
    with open_for_reading(ledger) as db:
        return {key for (key,) in db.execute("SELECT key FROM rows WHERE status != 'failed'")}


def _spent(ledger: Path, run: str) -> Amount:
    with open_for_reading(ledger) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'spending'").fetchone() is None:
            return NOTHING  # written before spending was booked
        total = "coalesce(sum(usd), 0.0), coalesce(sum(requests), 0), coalesce(sum(tokens), 0)"
        return Amount(*db.execute(f"SELECT {total} FROM spending WHERE run = ?", [run]).fetchone())
