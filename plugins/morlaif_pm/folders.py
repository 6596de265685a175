"""What a trained preference model leaves on disk: a folder per principle, whole when its done.json is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morlaif_core import UserError

DONE, WHOLE = "done.json", "whole.json"


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    # NaN is no JSON: other readers would refuse the file.
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def is_done(folder: Path) -> bool:
    """Say whether the preference model in this folder is whole."""
    return (folder / DONE).is_file()


def read_done(folder: Path, principles: Sequence[str], backend: str) -> list[dict[str, Any]]:
    """Return the done.json of each principle. Raises `UserError` naming what is missing or of another backend."""
    missing = [name for name in principles if not is_done(folder / name)]
    if missing:
        raise UserError(f"{folder} holds no trained preference model of {', '.join(missing)}; run train-pms again")
    found = [json.loads((folder / name / DONE).read_text(encoding="utf-8")) for name in principles]
    other = [name for name, done in zip(principles, found, strict=True) if done.get("backend") != backend]
    if other:
        raise UserError(
            f"the preference models of {', '.join(other)} in {folder} are not of the backend '{backend}'; "
            "run train-pms again"
        )
    return found


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint folders, oldest step first, whole or not."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def seal(checkpoint: Path, key: str) -> None:
    """Mark a checkpoint as whole, then remove the others: at no time is there less than one to go on from."""
    write_json(checkpoint / WHOLE, {"key": key})
    for other in checkpoints(checkpoint.parent):
        if other != checkpoint:
            shutil.rmtree(other)


def newest(folder: Path, key: str) -> Path | None:
    """Return the newest whole checkpoint made by the same settings and data (``key``); all others are removed."""
    chosen = None
    for path in reversed(checkpoints(folder)):
        mark = path / WHOLE
        if chosen is None and mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == {"key": key}:
            chosen = path
        else:
            shutil.rmtree(path)
    return chosen


def finish(folder: Path, content: Mapping[str, object]) -> None:
    """Write done.json, then remove what training needed."""
    # In this order: a kill in between leaves a finished model with checkpoints, not a model without either.
    write_json(folder / DONE, content)
    clean(folder)


def clean(folder: Path) -> None:
    """Remove checkpoints of a finished model, which a kill may have left."""
    for path in checkpoints(folder):
        shutil.rmtree(path)
