"""Who holds a run folder, and whether that process lives: what `status` and waiting processes look at."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

LOCK = ".lock"


@dataclass(frozen=True)
class Holder:
    """The process that holds a run folder, or ended without letting go of it.

    host: None where an earlier version wrote the lock. alive: None where the process is of another machine, from which
    nothing can be told here.
    """

    pid: int
    host: str | None
    alive: bool | None

    def __str__(self) -> str:
        return f"pid {self.pid}" + (f" on {self.host}" if self.host else "")


def mark() -> str:
    """What this process writes into a lock."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def holder_of(run: Path) -> Holder | None:
    """Look who holds a run folder; None where nobody does, or who did has let go of it."""
    try:
        text = (run / LOCK).read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.fullmatch(r"pid (\d+)(?: on (.+))?", text.strip())
    if found is None:
        return None
    pid, host = int(found[1]), found[2]
    return Holder(pid, host, _lives(run / LOCK, pid) if host in (None, socket.gethostname()) else None)


def _lives(lock: Path, pid: int) -> bool:
    """Whether a process of this machine holds the lock."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # The number may be another process's by now. Not looked at first: for a moment it would keep a run from beginning.
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
