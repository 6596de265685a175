"""Ctrl-C and SIGTERM while something is trained: noted, so that a checkpoint can be written; a second one ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 0.5
"""seconds within which a further signal is the same one: torchrun, timeout and others send to a process and to its group"""
TOLD = b"\ninterrupted: finishing this step and keeping it; once more ends at once\n"


class Stop:
    """Says whether to stop. Asked between steps; until it is asked for the first time, a signal ends the work at once."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._asked = False
        self._at: float | None = None

    def __call__(self) -> bool:
        """Say whether Ctrl-C or SIGTERM has come; the caller then keeps what it has done and raises KeyboardInterrupt."""
        self._asked = True
        return self._at is not None

    @property
    def noted(self) -> bool:
        """Whether a signal has come that waits for the next step's end."""
        return self._at is not None

    def note(self) -> bool:
        """Take a signal; False where it must end the work at once."""
        now = time.monotonic()
        if self._at is not None:
            return now - self._at < ECHO
        # Who never asks would go on for hours.
        if not self._asked:
            return False
        self._at = now
        if not self._quiet:
            # Past Python's streams, which a signal may have stopped in the middle of a line.
            with contextlib.suppress(OSError):
                os.write(2, TOLD)
        return True


@contextlib.contextmanager
def stoppable(quiet: bool = False) -> Iterator[Stop]:
    """Yield a `Stop` that signals are noted for while the block runs; only a program's first thread gets signals.

    A signal that was noted raises KeyboardInterrupt when the block ends, if nothing has before.
    """
    stop = Stop(quiet)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.note():
            return
        if callable(before[number]):
            before[number](number, frame)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    # The last step was under way: it is done, and what comes after is left to the next command.
    if stop.noted:
        raise KeyboardInterrupt
