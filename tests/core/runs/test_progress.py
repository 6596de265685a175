"""What a terminal shows of judging: how far, how much, how long."""

from __future__ import annotations

import os
import pty
import select
import sys

import pytest

from morlaif_core.runs.pace import Done
from morlaif_core.runs.progress import Screen


def everything(terminal: int) -> str:
    """What was written to a terminal: one read may give a part of it."""
    found = b""
    while select.select([terminal], [], [], 0.2)[0]:
        found += os.read(terminal, 65536)
    return found.decode()


def test_the_bar_shows_requests_money_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "stderr", terminal)
        with Screen().bar("judge") as bar:
            bar.judged(Done(0, 400, None))
            bar.judged(Done(120, 400, 0.12345))
        terminal.flush()
        shown = everything(ours)
    os.close(ours)
    for part in ("judge", "120/400", "$0.1235", "left"):
        assert part in shown
