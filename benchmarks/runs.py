"""What the benchmarks read of finished runs."""

from __future__ import annotations

from pathlib import Path

from morlaif_core.stages.evaluate import RESPONSES, read_after
from morlaif_core.stages.pairs import StoredPair, read_pairs


def before_and_after(run: Path) -> list[tuple[StoredPair, str]]:
    """The evaluation pairs of a finished run, each with the trained policy's response, in the order of prompt ids."""
    after = read_after(run / RESPONSES)
    rows = [(item, after[item.pair.prompt.id]) for item in read_pairs(run) if item.set == "evaluation"]
    return sorted(rows, key=lambda row: row[0].pair.prompt.id)
