"""The run folder: lock, manifest, atomic writes, and what a changed setting replaces."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from morlaif_core.errors import Busy, UserError

from .holder import LOCK, mark

FORMAT = 1
MANIFEST = "manifest.json"
RECORDS = ("run.yaml", MANIFEST, "results.json")
"""What says how the files of a run folder were made, and their numbers."""
DRAW = "prompt_draw"
"""In the manifest of a run whose prompt sets are drawn by region; one of an earlier version lacks it."""


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all.

    file: is replaced where it is there; its folder is made. text: all of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder, "note.txt"), "done")
    ...     Path(folder, "note.txt").read_text()
    'done'
    """
    write_parts(file, [text])


def write_parts(file: Path, parts: Iterable[str]) -> None:
    """Write a file whole or not at all: temp name in the same folder, fsync, rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # One fixed name, as a run folder has one writer: what a kill left is written over.
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("w", encoding="utf-8") as out:
        out.writelines(parts)
        out.flush()
        # Before the rename, or a power failure may leave the new name on an empty file. The folder itself is not
        # synced: then the old file, whole too, may come back.
        os.fsync(out.fileno())
    os.replace(temporary, file)


def write_json(file: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given.

    file: as in `write_text`. value: what JSON knows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder, "note.json"), {"n": 1})
    ...     json.loads(Path(folder, "note.json").read_text())
    {'n': 1}
    """
    write_text(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_jsonl(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_parts(file, map(json_line, rows))


def json_line(row: Mapping[str, Any]) -> str:
    """One row as a line."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_jsonl(file: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines. Raises `UserError` with the line's number where one is broken."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise UserError(f"{file}:{number}: not a JSON line; move the file away and run again") from None


@dataclass
class RunFolder:
    """A run folder held by this process. Made by `RunFolder.open`; `close` lets go."""

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    writable: bool = True
    """False: for who only looks; the manifest is not saved."""
    away: Path | None = None
    """The folder that this process moves to what it replaces, once there is one."""
    _records: dict[str, bytes] = field(default_factory=dict)
    _lock: IO[str] | None = None

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Hold a run folder, made where it is not there. Raises `UserError` for a folder that is not ours, `Busy`."""
        check_folder(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"{path} cannot be made: part of its path is a file; name another with --out") from None
        folder = cls(path)
        folder._take_lock()
        try:
            folder.manifest = read_manifest(path)
            folder._records = {name: (path / name).read_bytes() for name in RECORDS if (path / name).is_file()}
            if not (path / MANIFEST).exists():
                # From its first file on the folder is known as ours, wherever this process is killed.
                folder.save()
        except BaseException:
            folder.close()
            raise
        return folder

    def _take_lock(self) -> None:
        """The kernel lets go of the lock when the process ends, however it ends."""
        # a: to open it must not wipe out the holder's number, which the error shows.
        lock = (self.path / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise Busy(f"{self.path} is in use by another process{f' ({holder})' if holder else ''}") from None
        lock.truncate(0)
        lock.write(mark())
        lock.flush()
        self._lock = lock

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            # Empty: who looks can tell an end from a kill.
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def save(self) -> None:
        """Write the manifest."""
        if self.writable:
            write_json(self.path / MANIFEST, self.manifest)

    def section(self, name: str) -> dict[str, Any]:
        """A mapping in the manifest, made where it is not there."""
        section: dict[str, Any] = self.manifest.setdefault(name, {})
        return section

    def replace(self, names: Iterable[str]) -> list[str]:
        """Move what is there of these files and folders to ``replaced/TIME/``, one folder for all that this process
        replaces, with the run's records as they were when it opened the folder. Returns what was moved."""
        there = [name for name in names if (self.path / name).exists()]
        if there and (self.away is None or any((self.away / name).exists() for name in there)):
            self.away = self._make_away()
        for name in there:
            assert self.away is not None
            (self.away / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.path / name, self.away / name)
        return there

    def _make_away(self) -> Path:
        # For people; what is moved twice in one second gets a number.
        stamp = self.path / "replaced" / time.strftime("%Y%m%d-%H%M%S")
        away, number = stamp, 1
        while away.exists():
            number += 1
            away = stamp.with_name(f"{stamp.name}-{number}")
        away.mkdir(parents=True)
        for name, content in self._records.items():
            (away / name).write_bytes(content)
        return away


def check_folder(path: Path) -> None:
    """Raise `UserError` where the path is not a run folder and not an empty or absent one."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; name a folder with --out")
    if path.is_dir() and not (path / MANIFEST).exists():
        # A lock and a half-written manifest are what a kill at the very start leaves.
        foreign = sorted(item.name for item in path.iterdir() if item.name not in (LOCK, f".{MANIFEST}.tmp"))
        if foreign:
            raise UserError(f"{path} is not a run folder (it holds {foreign[0]}); name a new or empty one with --out")
    read_manifest(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run folder's manifest; a fresh one where there is none."""
    file = path / MANIFEST
    if not file.exists():
        return {"format": FORMAT, DRAW: 2, "stages": {}}
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        written = int(manifest["format"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is not a MORLAIF manifest; name another folder with --out") from None
    if written > FORMAT:
        raise UserError(
            f"{path} was written by a newer version (format {written}, this one reads {FORMAT}); update morlaif"
        )
    return manifest
