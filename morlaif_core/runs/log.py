"""log.txt and progress.json of a run folder: what was told, with dates, and how far the stage under way is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from morlaif_core.errors import UserError
from morlaif_core.redaction import redact

from .holder import mark

LOG = "log.txt"
PROGRESS = "progress.json"
LONGEST = 4000
"""Characters of an entry at most: a server's error page is not kept whole."""


class Log:
    """A run folder's log. A full disk does not end what is logged."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def write(self, text: str) -> None:
        """Append an entry with the time; further lines are indented."""
        entry = redact(text.strip())[:LONGEST].replace("\n", "\n    ")
        with contextlib.suppress(OSError), (self._run / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{_now()} {entry}\n")

    def keep(self, row: dict[str, Any]) -> None:
        """Replace progress.json."""
        part = self._run / f".{PROGRESS}.tmp"
        # Not synced: it is written every other second, and of no use after a power failure.
        with contextlib.suppress(OSError):
            part.write_text(json.dumps({**row, "process": mark(), "at": _now()}, indent=1) + "\n", encoding="utf-8")
            os.replace(part, self._run / PROGRESS)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Log that a command begins, its warnings, and how it ends."""
        self.write(f"begun: {mark()}")
        handler = _Handler(self)
        logger = logging.getLogger("morlaif_core")
        logger.addHandler(handler)
        try:
            yield
            self.write("ended")
        except KeyboardInterrupt:
            self.write("interrupted")
            raise
        except BaseException as error:
            self.write(
                f"failed: {error}" if isinstance(error, UserError) else f"failed: {type(error).__name__}: {error}"
            )
            raise
        finally:
            logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Writes warnings to a run's log; they are shown as they were without it."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write(record.getMessage())
        # Python shows warnings on stderr only where there is no handler at all.
        if logging.lastResort and not logging.getLogger().handlers:
            logging.lastResort.handle(record)


def read_progress(run: Path) -> dict[str, Any] | None:
    """progress.json; None where there is none, or it cannot be read."""
    try:
        row: dict[str, Any] = json.loads((run / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S%z")
