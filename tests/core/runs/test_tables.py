"""Tables in a terminal too narrow for them: wrapped where the caller allows it, and no name cut then."""

from __future__ import annotations

import os
import pty
import select
import sys

import pytest

from morlaif_core import format_interval, format_number, print_table
from morlaif_core.types.scores import short_number

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


def test_what_rounding_leaves_of_zero_is_zero() -> None:
    assert format_number(-7e-18) == "0.000"
    assert format_number(-0.0004, 3) == "0.000"
    assert format_number(-0.0006, 3) == "-0.001"
    assert format_interval([-1e-9, 0.25], 2) == "[0.00, 0.25]"
    assert [short_number(value) for value in (-7e-18, -0.0, 0.00012345, -2.0)] == ["0", "0", "0.000123", "-2"]
