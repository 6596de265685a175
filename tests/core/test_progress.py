"""What a terminal shows of judging: how far, how much, how long."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from morlaif_core.progress import Done, Screen


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
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    for part in ("judge", "120/400", "$0.1235", "left"):
        assert part in shown
