"""Folders that are made once a session, whichever of its processes needs them first; the others wait, then read."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


class SharedFolders:
    """Folders by name, below one that all processes of a test session know."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder ``name``, which ``make`` fills when it is first asked for; read only.

        Where making fails, everybody who asks tries again, and fails too.
        """
        folder, whole = self.root / name, self.root / f"{name}.whole"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder
