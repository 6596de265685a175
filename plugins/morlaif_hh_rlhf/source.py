"""Rows of a data set, wherever they lie, with the place of each for error messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from morlaif_core import Split, UserError

from .files import SUFFIXES, Row, kind_of, read


class Source(Protocol):
    """One data set."""

    name: str

    @property
    def has_test(self) -> bool:
        """Whether there is a test split of its own."""
        ...

    def rows(self, split: Split) -> Iterator[Row]:
        """Yield a split's rows in order; ``test`` only where there is one."""
        ...


class FileSource:
    """A local file, which is one split, or a folder with a file ``train.…`` and maybe a file ``test.…``."""

    def __init__(self, path: str) -> None:
        place = Path(path).expanduser()
        if not place.exists():
            raise UserError(f"{path}: no such file; set dataset.path to a data file ({', '.join(SUFFIXES)}, also .gz)")
        self.name = path
        self._files: dict[Split, Path] = _in_folder(place) if place.is_dir() else {"train": place}
        # Before a run: an unknown suffix is said now, not when the first row is wanted.
        for file in self._files.values():
            kind_of(file)

    @property
    def has_test(self) -> bool:
        return "test" in self._files

    def rows(self, split: Split) -> Iterator[Row]:
        return read(self._files[split])


def _in_folder(folder: Path) -> dict[Split, Path]:
    files: dict[Split, Path] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        found = sorted(file for file in folder.glob(f"{split}.*") if any(part in SUFFIXES for part in file.suffixes))
        if len(found) > 1:
            raise UserError(f"{folder}: {found[0].name} and {found[1].name} are both the {split} split; keep one")
        if found:
            files[split] = found[0]
    if "train" not in files:
        raise UserError(
            f"{folder}: no file train{SUFFIXES[0]} in this folder (or {', '.join(SUFFIXES[1:])}); name a file"
        )
    return files


class HubSplits(NamedTuple):
    """Names of the hub's splits; ``test`` None: ``test`` where there is one."""

    train: str
    test: str | None


class HubSource:
    """A data set of the hub, loaded when the first row is wanted. ``parts`` are arguments of ``load_dataset``, read one
    after the other."""

    def __init__(self, name: str, parts: tuple[Mapping[str, Any], ...], splits: HubSplits) -> None:
        self.name = name
        self._parts = parts
        self._splits = splits
        self._loaded: list[Any] | None = None

    @property
    def has_test(self) -> bool:
        return self._test in self._tables()[0]

    @property
    def _test(self) -> str:
        return self._splits.test or "test"

    def rows(self, split: Split) -> Iterator[Row]:
        wanted = self._splits.train if split == "train" else self._test
        for table in self._tables():
            for number, row in enumerate(table[wanted], start=1):
                yield Row(f"{self.name} {wanted}, row {number}", row)

    def _tables(self) -> list[Any]:
        if self._loaded is None:
            from .hub import load

            tables = [load(self.name, **part) for part in self._parts]
            for table in tables:
                for wanted in (self._splits.train, *filter(None, [self._splits.test])):
                    if wanted not in table:
                        raise UserError(f"{self.name} has no split '{wanted}'; it has: {', '.join(table)}")
            self._loaded = tables
        return self._loaded
