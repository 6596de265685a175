"""What the benchmarks read of finished runs."""

from __future__ import annotations

from pathlib import Path

from morlaif_core.stages.comparison_rows import BEFORE, ROWS, read_after
from morlaif_core.stages.pairs import StoredPair, read_pairs


def before_and_after(run: Path) -> list[tuple[StoredPair, str]]:
    """The evaluation pairs of a finished run, each with the trained policy's response, in the order of prompt ids."""
    after = read_after(run / ROWS)
    rows = [(item, after[item.pair.prompt.id]) for item in read_pairs(run, BEFORE)]
    return sorted(rows, key=lambda row: row[0].pair.prompt.id)
