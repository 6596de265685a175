"""Tables in a terminal too narrow for them: wrapped where the caller allows it, and no name cut then."""

from __future__ import annotations

import os
import pty
import select
import sys

import pytest

from morlaif_core import print_table

NAME = "a_name_longer_than_the_terminal_leaves_room_for"


@pytest.mark.parametrize("wrap", [True, False])
def test_a_table_that_may_wrap_cuts_nothing(wrap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setenv("TERM", "dumb")
        patch.setenv("COLUMNS", "40")
        patch.setenv("LINES", "25")  # without it, a dumb terminal has 80 columns whatever COLUMNS says
        patch.setattr(sys, "stdout", terminal)
        print_table(["name", "score"], [[NAME, "0.5"]], wrap=wrap)
        terminal.flush()
        assert select.select([ours], [], [], 5)[0]
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    lines = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert ("".join(lines) == NAME) is wrap
    assert ("…" in shown) is not wrap
