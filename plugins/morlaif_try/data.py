"""Data that a command is given: a file, read as the run reads its own, or a data set by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from morlaif_core import Dataset, UserError, Workbench, build


def opened(bench: Workbench, data: str) -> tuple[Dataset, Literal["file", "name"]]:
    """Open it. Raises `UserError` where there is no such file, or no such data set."""
    file = Path(data).expanduser()
    if file.exists():
        # With the run's names of columns where its own data lie in a file; else as any file is read.
        own: dict[str, Any] = bench.settings.dataset.block
        block = own if own.get("path") else {"use": "preferences"}
        rest = {key: value for key, value in block.items() if key != "use"}
        return build("dataset", block["use"], **{**rest, "path": str(file)}), "file"
    if Path(data).suffix or len(Path(data).parts) > 1:
        raise UserError(f"{data}: no such file; name a file, or a data set such as demo")
    return build("dataset", data), "name"
