"""The ledger's answered rows as JSON lines: the same bytes however often judging was cut short and gone on with."""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

from morlaif_core.runs.folder import write_jsonl

from .ledger import read_rows
from .tables import NAMES, Row

CHANCE = frozenset("tokens_cached cost attempts maybe_billed seconds error run batch".split())
"""Columns that depend on when and how a row was bought, not on what was answered."""


def export_rows(ledgers: Iterable[Path], pairs: Collection[str], file: Path) -> None:
    """Write the answered rows of some pairs to a file, whole or not at all.

    ledgers: those that are not there hold nothing. Rows are sorted by key; failed requests are left out, and so are the
    columns in `CHANCE`. Raises `UserError` for a ledger that cannot be read.
    """
    # Merged while reading, since ledgers may be larger than memory.
    rows = heapq.merge(*(read_rows(path) for path in ledgers if path.exists()), key=attrgetter("key"))
    write_jsonl(file, (_line(row) for row in rows if row.pair in pairs and row.status != "failed"))


def _line(row: Row) -> dict[str, Any]:
    line = {name: getattr(row, name) for name in NAMES if name not in CHANCE}
    return line | {"answer": json.loads(row.answer) if row.answer is not None else None}
