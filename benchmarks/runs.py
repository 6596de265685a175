"""What the benchmarks read of finished runs."""

from __future__ import annotations

from pathlib import Path

from morlaif_core.runs.folder import read_jsonl
from morlaif_core.stages.evaluate import RESPONSES
from morlaif_core.stages.pairs import StoredPair, read_pairs, response_of


def before_and_after(run: Path) -> list[tuple[StoredPair, str]]:
    """The evaluation pairs of a finished run, each with the trained policy's response, in the order of prompt ids."""
    rows_of = read_jsonl(run / RESPONSES)
    after = {row["prompt_id"]: response_of(row["after"], row.get("ended", True)) for row in rows_of}
    rows = [(item, after[item.pair.prompt.id]) for item in read_pairs(run) if item.set == "evaluation"]
    return sorted(rows, key=lambda row: row[0].pair.prompt.id)
