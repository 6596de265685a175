"""The command `morlaif`: called in this process, and started in another one that writes to a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

COMMAND = [sys.executable, "-m", "morlaif_core.cli.main"]
Cli: TypeAlias = Callable[..., tuple[int, str, str]]
"""Calls a command in this process; returns exit code, stdout and stderr."""


def logged(
    log: Path, *arguments: str, code: str = "", environment: dict[str, str], **more: Any
) -> subprocess.Popen[bytes]:
    """Start a command whose output is added to a log. code: in place of the command; more: for `Popen`."""
    command = [sys.executable, "-c", code] if code else COMMAND
    with log.open("ab") as file:
        return subprocess.Popen(
            [*command, *arguments], stdout=file, stderr=file, env={**os.environ, **environment}, **more
        )
