"""Files with rows by training step: metrics.jsonl, what the trainer reports, and rollouts.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morlaif_core.runs.folder import json_line, write_text


class StepRows:
    """A file of rows by step. A resumed trainer repeats steps; its rows replace those of the lost steps."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._begun = False

    def add(self, step: int, *rows: Mapping[str, Any]) -> None:
        """Append one step's rows; also where it has none, each step is told."""
        # Only now: a trainer tells by its first report at which step it goes on.
        if not self._begun:
            kept = [row for row in self.rows() if row["step"] < step]
            write_text(self.file, "".join(json_line(row) for row in kept))
            self._begun = True
        # Closed after each step, so that a kill loses none; a sync at every step would be waited for.
        with self.file.open("a", encoding="utf-8") as out:
            out.write("".join(json_line({"step": step, **row}) for row in rows))

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows; a crash may have left half a line at the end."""
        found = []
        # Not splitlines, which takes some of the signs in a text for ends of lines.
        for line in self.file.read_text(encoding="utf-8").split("\n") if self.file.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def last(self) -> dict[str, Any]:
        """The last row, empty where there is none."""
        rows = self.rows()
        return rows[-1] if rows else {}
