"""Files of both commands: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file whole or not at all; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # By process, so that two commands do not write into one half file.
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)
