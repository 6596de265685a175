"""The manifest's entry of a command: what was run, when, where and with what, and how it ended."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morlaif_core.errors import UserError
from morlaif_core.redaction import redact_command

from .folder import RunFolder

SECTION = "commands"
"""The manifest's list of commands that held the folder, in their order."""
INTERRUPTED = 130


@contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Note in the manifest who works in a folder while the block runs. An entry without an end is of one that was killed."""
    entry: dict[str, Any] = {
        "command": redact_command(sys.argv),
        "folder": os.getcwd(),
        "commit": git_commit(Path.cwd()),
        "host": platform.node(),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "morlaif": version("morlaif")},
        "device": None,
        "start": _now(),
        "end": None,
        "exit": None,
    }
    folder.manifest.setdefault(SECTION, []).append(entry)
    folder.save()
    try:
        yield
        entry["exit"] = 0
    except BaseException as error:
        entry["exit"] = error.exit_code if isinstance(error, UserError) else 1
        if not isinstance(error, Exception):
            entry["exit"] = INTERRUPTED
        raise
    finally:
        # The device last: what needs no torch does not import it for this.
        entry |= {"device": _device(), "end": _now()}
        # A full disk must not hide the error that it caused.
        with suppress(OSError):
            folder.save()


def git_commit(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder or one above it, None where there is none.

    From git's own files, so that no program is started. It says nothing of changes that are not committed.
    """
    for place in (folder, *folder.parents):
        git = place / ".git"
        with suppress(OSError, UnicodeDecodeError):
            if git.is_file():  # of a worktree or submodule: "gitdir: PATH"
                git = place / git.read_text(encoding="utf-8").partition(":")[2].strip()
            if git.is_dir():
                found = _checked_out(git)
                return found if re.fullmatch(r"[0-9a-f]{40,64}", found) else None
    return None


def _checked_out(git: Path) -> str:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head
    ref, shared = head.removeprefix("ref: "), git / "commondir"
    # A worktree's branches lie with those of its repository.
    root = git / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git
    if (root / ref).is_file():
        return (root / ref).read_text(encoding="utf-8").strip()
    lines = (root / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")


def _device() -> str:
    """The GPU's name where this process has used torch and sees one, else the processor's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
