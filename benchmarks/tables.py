"""What the benchmarks share: a table with machine and versions, and rows as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def print_rows(rows: Sequence[dict[str, str]]) -> None:
    """Print a Markdown table under a line that names machine and versions."""
    print(
        f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}\n"
    )
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row[column] for column in columns) + " |")


def write_rows(file: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    """Write ``{"rows": […]}``; met: whether the value reached its target (null where there is none)."""
    if file is None:
        return
    full = [{"ratio": None, "target": None, "met": _met(row), **row} for row in rows]
    file.write_text(json.dumps({"rows": full}, indent=1) + "\n", encoding="utf-8")


def _met(row: dict[str, Any]) -> bool | None:
    target = row.get("target")
    if target is None:
        return None
    value = row["value"]
    # Time and memory are to stay below a target, everything else is to reach it.
    return bool(value <= target) if row.get("unit") in ("s", "MB") else bool(value >= target)
