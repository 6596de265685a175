"""Ctrl-C and SIGTERM while something is trained: noted for who asks, raised at once for who does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from morlaif_core.runs import stopping
from morlaif_core.runs.stopping import SIGNALS, stoppable


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_until_the_step_is_done(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    steps = []
    before = signal.getsignal(number)

    def train() -> None:
        with stoppable() as stop:
            for step in range(9):
                if stop():
                    raise KeyboardInterrupt
                if step == 3:
                    send(number)
                    send(number)  # the same one: of the terminal to the group, and of the launcher
                steps.append(step)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert steps == [0, 1, 2, 3]
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err.count("finishing this step") == 1


def test_who_never_asks_is_interrupted_at_once() -> None:
    steps = []

    def train() -> None:
        with stoppable():
            send(signal.SIGINT)
            steps.append(1)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert not steps


def test_a_second_signal_ends_at_once_by_the_handler_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ECHO", 0.0)
    seen: list[int] = []

    def train() -> None:
        with stoppable() as stop:
            stop()
            send(signal.SIGINT)
            assert stop()
            assert not seen
            send(signal.SIGINT)
            raise AssertionError("not reached")

    kept = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with pytest.raises(KeyboardInterrupt):
            train()
    finally:
        signal.signal(signal.SIGINT, kept)
    assert seen == [signal.SIGINT]


@pytest.mark.parametrize("error", [None, ValueError("the trainer's")])
def test_a_signal_in_the_last_step_is_not_forgotten_and_errors_pass(error: Exception | None) -> None:
    def train() -> None:
        with stoppable(quiet=True) as stop:
            stop()
            send(signal.SIGTERM)
            if error:
                raise error

    with pytest.raises(type(error) if error else KeyboardInterrupt):
        train()


def test_another_thread_gets_no_signals_and_is_never_stopped() -> None:
    found: list[bool] = []

    def work() -> None:
        with stoppable() as stop:
            found.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
