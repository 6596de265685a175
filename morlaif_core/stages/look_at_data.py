"""What `check` says of data that lie here: read within bounds of rows and time, before any model is loaded."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from morlaif_core.config.config import Config
from morlaif_core.errors import UserError
from morlaif_core.plugins.protocols import Dataset
from morlaif_core.runs.folder import RunFolder
from morlaif_core.runs.progress import Screen
from morlaif_core.types import Preference, Prompt, Split

from . import sample
from .context import Context

ROWS = 200_000
"""Prompts, or preferences, of a split that are read at most."""
SECONDS = 3.0
"""How long a split is read at most; it is asked after each prompt or preference."""
T = TypeVar("T")


@dataclass(frozen=True)
class DataLook:
    """What was seen."""

    sets: Mapping[str, int]
    """How many prompts each set gets, whatever their length; empty where there is a problem, or too little was read."""
    left_out: Mapping[str, int]
    """Why -> how many rows or prompts, of what was read."""
    whole: bool
    """False: a bound was met, and there are more prompts than the sets say, or labels that were not seen."""
    problem: str = ""
    """Why a run would stop, with advice."""


def look_at_data(config: Config) -> DataLook | None:
    """Read the data set and draw the prompt sets, all prompts taken for short enough.

    None: the data do not lie here, and are not fetched for it: a component that says by `missing` what it needs from
    outside, and no ``path``.
    """
    block = config.block("dataset")
    options, component = config.plugins.options("dataset", block), config.plugins.find("dataset", block["use"])
    if component.missing is not None and getattr(options, "path", None) is None:
        return None
    context = Context(config, RunFolder(Path(), {}, writable=False), Screen(quiet=True))
    data: _Bounded | None = None
    try:
        data = context.dataset = _Bounded(context.dataset)
        sets = sample.check(context)
    except Exception as error:  # a plugin's data set may raise anything
        if not isinstance(error, (UserError, OSError)) and os.environ.get("MORLAIF_STRICT") == "1":
            raise
        told = str(error) if isinstance(error, UserError) else f"dataset: {type(error).__name__}: {error}"
        skipped, whole = (data.skipped, data.whole) if data else ({}, True)
        # Of data that were not read whole, nobody can say that they have too little.
        return DataLook({}, skipped, whole, told if whole else "")
    lost = Counter(data.skipped) + Counter(sets.left_out)
    return DataLook({name: len(prompts) for name, prompts in sets.sets.items()}, lost, data.whole)


class _Bounded:
    """The beginning of a data set."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.whole = True

    @property
    def skipped(self) -> Mapping[str, int]:
        return self._dataset.skipped

    def prompts(self, split: Split) -> Iterator[Prompt]:
        yield from self._beginning(self._dataset.prompts(split))

    def preferences(self, split: Split) -> Iterator[Preference]:
        yield from self._beginning(self._dataset.preferences(split))

    def _beginning(self, items: Iterator[T]) -> Iterator[T]:
        end = time.monotonic() + SECONDS
        for number, item in enumerate(items):
            if number >= ROWS or time.monotonic() > end:
                self.whole = False
                return
            yield item
