"""Folders that are made once a session, whichever of its processes needs them first; each gets a copy of its own."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


class SharedFolders:
    """Folders by name. root: known to all processes of a test session; own: this one's."""

    def __init__(self, root: Path, own: Path) -> None:
        self.root, self.own = root, own

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return a copy of what ``make`` leaves in an empty folder; the same for all who ask in this process.

        Others wait while it is made. Where that fails, everybody who asks tries again, and fails too.
        """
        copy = self.own / name
        if copy.exists():
            return copy
        folder, whole = self.root / name, self.root / f"{name}.whole"
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return Path(shutil.copytree(folder, copy, symlinks=True))
