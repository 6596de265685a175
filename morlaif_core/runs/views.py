"""What a run shows in Python: its line, its table for notebooks, its files as pandas frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morlaif_core.errors import UserError
from morlaif_core.types import html_table

from .tables import change, measured

if TYPE_CHECKING:
    import pandas as pd


def frame(file: Path, made_by: str, index: str | None = None) -> pd.DataFrame:
    """Read JSON lines as a frame; a mapping in a row becomes columns ``key.inner``.

    Args:
        file: JSON lines.
        made_by: what writes the file, for the error where it is not there.
        index: the column that becomes the index.

    Raises:
        UserError: there is no such file yet.
    """
    import pandas as pd

    if not file.is_file():
        raise UserError(f"there is no {file}; {made_by}")
    # The last line of a run under way may be half there.
    *lines, _ = file.read_text(encoding="utf-8").split("\n")
    found = pd.json_normalize([json.loads(line) for line in lines])
    return found.set_index(index) if index in found else found


def run_line(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Say which run it is, how far it has come, and its overall win rate."""
    states = {name: row["state"] for name, row in manifest.get("stages", {}).items()}
    done = [name for name, state in states.items() if state == "done"]
    parts = [f"done: {', '.join(done) or 'nothing yet'}"]
    parts += [f"{name}: {state}" for name, state in states.items() if state != "done"]
    overall = manifest.get("results", {}).get("win_rate", {}).get("overall")
    if overall is not None:
        parts.append(f"overall win rate {overall:.3f}")
    return f"<Run {folder}: {'; '.join(parts)}>"


def run_html(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The same with a table of the principles, before and after training."""
    rows = [
        [
            name,
            change(block.get("judge_before"), block.get("judge_after"), 3),
            measured(block.get("win_rate"), block.get("win_rate_ci95_adjusted", block.get("win_rate_ci95"))),
            change(block.get("pm_before"), block.get("pm_after"), 2),
        ]
        for name, block in manifest.get("results", {}).get("policy", {}).items()
    ]
    columns = ("principle", "judge score", "win rate, 95 % interval", "PM score")
    return html_table(run_line(folder, manifest).strip("<>"), columns, rows)
