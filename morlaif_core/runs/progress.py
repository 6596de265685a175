"""What a user sees while a stage runs: plain lines, bars where there is a terminal; and what the run folder keeps of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from morlaif_core.types import Prompt
from morlaif_core.types.scores import short_number

from .log import Log
from .pace import SHOWN, Done, Meter, Paced

FIRST, LONGEST = 10.0, 60.0
"""Seconds until the first line about a stage, and between two at most."""
VERBOSE = 1.0
"""Seconds between two lines of a verbose screen."""
KEPT = 2.0
"""Seconds between two writings of progress.json."""


class Bar:
    """A `protocols.Report` that shows how far a stage is."""

    def __init__(self, advance: Callable[[Done], None]) -> None:
        self.judged = advance
        """Show how far judging is, and what it has cost."""

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float] | None = None,
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        """Show that ``step`` of ``total`` is done."""
        # What a plugin reports may be numpy's numbers, or, against its type, none at all: no reason to end a training.
        numbers = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, Real)}
        self.judged(Done(step, total, metrics=numbers))
        return "go"


class Screen:
    """Prints lines and shows progress: a bar in a terminal, else a line now and then, on stderr.

    quiet: neither. verbose: lines every second with every metric, in a terminal too. err: lines of `say` go to stderr.
    """

    def __init__(self, quiet: bool = False, *, err: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose, self._err = quiet, verbose, err
        self._log: Log | None = None

    def say(self, text: str) -> None:
        """Print a line."""
        if self._log is not None:
            self._log.write(text)
        if not self.quiet:
            print(text, file=sys.stderr if self._err else sys.stdout, flush=True)

    @contextmanager
    def logged(self, run: Path) -> Iterator[None]:
        """Keep in a run folder what is told while the block runs, quiet or not, and how it ends."""
        self._log = Log(run)
        try:
            with self._log.opened():
                yield
        finally:
            self._log = None

    @contextmanager
    def bar(self, label: str, unit: str = "") -> Iterator[Bar]:
        """Show how far a stage is while the block runs. unit: what is counted."""
        meter = Meter(label, unit)
        terminal = sys.stderr.isatty() and not self.quiet
        with ExitStack() as stack:
            calls: list[Callable[[], None]] = [stack.enter_context(_drawn(meter))] if terminal else []
            if self.verbose:
                calls.append(Paced(lambda: _print(meter.line(full=True)), VERBOSE, VERBOSE))
            elif not terminal and not self.quiet:
                # In a log file each redrawing of a bar would be a line.
                calls.append(Paced(lambda: _print(meter.line()), FIRST, LONGEST))
            if (log := self._log) is not None:
                calls.append(Paced(lambda: log.write(meter.line()), FIRST, LONGEST))
                calls.append(Paced(lambda: log.keep(meter.row()), KEPT, KEPT))
                stack.callback(lambda: log.keep(meter.row()) if meter.last else None)

            def advance(done: Done) -> None:
                meter.tell(done)
                for call in calls:
                    call()

            yield Bar(advance)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _drawn(meter: Meter) -> Iterator[Callable[[], None]]:
    """Draw a bar in the terminal while the block runs."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: Any = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(meter.label, total=None, text="")

        def draw() -> None:
            done = meter.last or Done(0, 0)
            text = " ".join(f"{key} {short_number(done.metrics[key])}" for key in SHOWN if key in done.metrics)
            text = f"${done.usd:,.4f}" if done.usd else text
            progress.update(task, completed=done.answered, total=done.total, text=text)

        yield draw
