"""Several processes (torchrun): the first does the work and writes, before any process group; the others wait for it."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.redaction import redact

from .folder import RunFolder, read_manifest
from .holder import holder_of
from .progress import Screen
from .stopping import stoppable

SECTION = "launch"
"""The manifest's record of a launch of several processes: its id, its state (running, done, failed or interrupted), its
error."""
POLL = 0.5
"""seconds between two looks at the manifest"""
STALE = 300.0
"""seconds after which an end that was there before this process looked counts as this launch's own"""
ALONE = "training in several processes is not implemented: the first of {} processes runs every stage, the others wait"
_GROUP = frozenset(
    "RANK LOCAL_RANK GROUP_RANK ROLE_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_WORLD_SIZE ROLE_WORLD_SIZE ROLE_NAME"
    " MASTER_ADDR MASTER_PORT".split()
)


@dataclass(frozen=True)
class Ranks:
    """Which process of how many this is, as torchrun says it. rank: in [0, world)."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process does the work."""
        return self.rank == 0


def ranks() -> Ranks:
    """Read RANK and WORLD_SIZE from the environment; one process where they are not set. Raises `UserError`."""
    try:
        found = Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError:
        # Refused below, with the same words as a rank out of range.
        found = Ranks(-1)
    if not 0 <= found.rank < found.world:
        raise UserError("RANK and WORLD_SIZE in the environment are not valid; unset them")
    return found


@contextlib.contextmanager
def first_of(mine: Ranks, folder: RunFolder, screen: Screen) -> Iterator[None]:
    """Work as rank 0: the others learn from the manifest how it ended, and libraries see a process of its own."""
    if mine.world == 1:
        # Else a later launch's waiting processes would read how an earlier one ended.
        folder.manifest.pop(SECTION, None)
        yield
        return
    record: dict[str, Any] = {"id": uuid.uuid4().hex, "processes": mine.world, "state": "running"}
    folder.manifest[SECTION] = record
    folder.save()
    screen.say(ALONE.format(mine.world))
    try:
        with _without_group():
            yield
        record["state"] = "done"
    except KeyboardInterrupt:
        record["state"] = "interrupted"
        raise
    except BaseException as error:
        record |= {"state": "failed", "error": redact(str(error) or type(error).__name__)}
        raise
    finally:
        # A full disk must not hide the error that it caused.
        with contextlib.suppress(OSError):
            folder.save()


@contextlib.contextmanager
def _without_group() -> Iterator[None]:
    """Hide the launcher's variables: a trainer that finds them waits for processes that do not train."""
    hidden = {name: it for name, it in os.environ.items() if name in _GROUP or name.startswith("TORCHELASTIC_")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def wait_for_first(
    run: Path,
    finished: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Return when rank 0 has done its work in a run folder; there is no time limit. Takes no lock, writes nothing.

    finished: whether all that is asked for is done, with this process's configuration. Raises `RunFailed` where rank 0
    failed, KeyboardInterrupt where it was interrupted: Ctrl-C and SIGTERM here wait for rank 0, which finishes a step. An
    end that this process finds at its first look may be an earlier launch's: it counts where ``finished`` says so, or
    where nobody has begun anew after `STALE` seconds.
    """
    # By the manifest, not by a barrier of torch: that gives up within the hour, and judging may take days.
    before, begun = _record(run), clock()
    with stoppable(quiet=True) as stop:
        while True:
            record = _record(run)
            own = record != before or clock() - begun >= STALE
            state = record.get("state")
            if state == "failed" and own:
                raise RunFailed(f"rank 0 failed: {record.get('error')}")
            # A launcher that sees one process end ends the others soon after, amid the step.
            if (state == "interrupted" and own) or (stop() and not _works(run)):
                raise KeyboardInterrupt
            if state == "done" and (own or finished()):
                return
            sleep(POLL)


def _works(run: Path) -> bool:
    """Whether rank 0 holds the run folder; of another machine's it is believed."""
    holder = holder_of(run)
    return holder is not None and holder.alive is not False


def _record(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = read_manifest(run).get(SECTION, {})
    return record
