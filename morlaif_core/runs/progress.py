"""What a user sees while a stage runs: plain lines, and progress bars where there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from morlaif_core.types import Prompt


@dataclass(frozen=True, slots=True)
class Done:
    """How far judging is: requests answered, and in all.

    usd: what the run has spent so far, earlier commands included; None where a price is not known.
    """

    answered: int
    total: int
    usd: float | None = None


class Bar:
    """A `protocols.Report` that moves a progress bar, or does nothing without a terminal."""

    def __init__(self, advance: Callable[[int, int, str], None]) -> None:
        self._advance = advance

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float] | None = None,
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        """Show that ``step`` of ``total`` is done."""
        shown = {key: value for key, value in (metrics or {}).items() if key in ("loss", "reward", "kl")}
        self._advance(step, total, " ".join(f"{key} {value:.3g}" for key, value in shown.items()))
        return "go"

    def judged(self, done: Done) -> None:
        """Show how far judging is, and what it has cost."""
        self._advance(done.answered, done.total, f"${done.usd:,.4f}" if done.usd else "")


class Screen:
    """Prints lines and draws bars. ``quiet``: neither; ``err``: lines go to stderr, as bars do."""

    def __init__(self, quiet: bool = False, *, err: bool = False) -> None:
        self.quiet, self._err = quiet, err

    def say(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            print(text, file=sys.stderr if self._err else sys.stdout, flush=True)

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar]:
        """Draw a bar on stderr while the block runs."""
        # In a log file each redrawing of a bar would be a line.
        if self.quiet or not sys.stderr.isatty():
            yield Bar(lambda step, total, text: None)
            return
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
            task = progress.add_task(label, total=None, text="")
            yield Bar(lambda step, total, text: progress.update(task, completed=step, total=total, text=text))
