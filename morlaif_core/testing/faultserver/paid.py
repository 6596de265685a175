"""The server's own ledger: one line per attempt, written before the answer. The ground truth of what was paid for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO


class Line(NamedTuple):
    """An attempt. key: hash of the body (equal bodies, equal keys, whichever order their fields come in).

    attempt: how often the same body came before. kind: ``ok``, ``limited``, ``invalid``, ``scripted`` or a kind of
    fault. billed: whether the provider charges it. time: seconds since 1970. batch: the batch it came in.
    """

    key: str
    attempt: int
    kind: str
    billed: bool
    status: int
    time: float
    input: int = 0
    cached: int = 0
    output: int = 0
    batch: str | None = None


class Ledger:
    """Lines in memory and, where a file is named, appended to it; each is flushed before its request is answered."""

    def __init__(self, path: Path | None) -> None:
        self.lines: list[Line] = []
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path is not None else None
        self._encode: Callable[[object], str] = json.JSONEncoder().encode

    def write(self, line: Line) -> None:
        """Add a line."""
        self.lines.append(line)
        if self._file is not None:
            self._file.write(self._encode(line._asdict()) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_lines(path: Path) -> list[Line]:
    """Read a ledger file. A last line that is still being written is left out."""
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [Line(**json.loads(line)) for line in whole.splitlines()]
