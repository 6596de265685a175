"""Runs a coroutine so that Ctrl-C and SIGTERM let it finish what it is doing, also where a loop runs already."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from morlaif_core.runs.stopping import ECHO, SIGNALS

T = TypeVar("T")


def run_draining(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()``; SIGINT and SIGTERM cancel it, which it may use to drain, and become KeyboardInterrupt.

    In a notebook, where a loop runs in this thread, it gets a thread of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run_here(main)
    return _run_beside(main)


def _run_here(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    interrupted: float | None = None

    async def guarded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            nonlocal interrupted
            # A second one gives up what is in flight, and that is paid for: not for a signal that was sent twice.
            if interrupted is None or time.monotonic() - interrupted >= ECHO:
                task.cancel()
            interrupted = interrupted or time.monotonic()

        with _handlers(loop, interrupt):
            return await main()

    try:
        return asyncio.run(guarded())
    # A cancellation that no signal caused is somebody else's, and passes on as it is.
    except asyncio.CancelledError:
        if interrupted is not None:
            raise KeyboardInterrupt from None
        raise


@contextlib.contextmanager
def _handlers(loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> Iterator[None]:
    """Handle signals in the loop while the block runs; only a program's first thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            # asyncio leaves the default behind, not the handler that was there before.
            loop.remove_signal_handler(number)
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _run_beside(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        return await main()

    def body() -> None:
        try:
            results.append(asyncio.run(noted()))
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="morlaif-judging")
    thread.start()
    try:
        # Signals reach the first thread alone, so it waits here and passes an interruption on.
        thread.join()
    except KeyboardInterrupt:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)  # a task belongs to its loop's thread
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
