"""Measures of other packages, found by their entry points in the group `morlaif.rules`; looked for when one is named."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from morlaif_core import Prompt, UserError

from .measures import Measure

GROUP = "morlaif.rules"


@cache
def plugged(taken: frozenset[str]) -> Mapping[str, EntryPoint]:
    """Return the measures that installed packages offer, by name. taken: built-in names, which cannot be used."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=_origin):
        other = "this judge" if entry.name in taken else _origin(found[entry.name]) if entry.name in found else None
        if other and other != _origin(entry):
            warnings.warn(
                f"rules: the measure '{entry.name}' of {_origin(entry)} is not used: {other} has one", stacklevel=2
            )
        elif other is None:
            found[entry.name] = entry
    return found


@cache
def load(entry: EntryPoint) -> Measure:
    """Load a measure.

    It is called with prompt and response and returns a finite number; its docstring says what it counts. ``unit`` (1.0 where
    it has none), ``tie`` (0.0) and ``identity`` are attributes. Raises `UserError` where it cannot be loaded.
    """
    what = f"rules: the measure '{entry.name}' of {_origin(entry)}"
    try:
        loaded: Any = entry.load()
        rate = loaded() if isinstance(loaded, type) else loaded
        unit, tie = float(getattr(rate, "unit", 1.0)), float(getattr(rate, "tie", 0.0))
    except Exception as error:  # another package's module may raise anything
        raise UserError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    if not (callable(rate) and unit > 0 and 0 <= tie < math.inf):
        raise UserError(f"{what} must be callable, with a unit above 0 and a tie of 0 or more")

    def checked(prompt: Prompt, response: str) -> float:
        try:
            value = float(rate(prompt, response))
        except Exception as error:  # another package's code may raise anything
            raise UserError(f"{what} failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            raise UserError(f"{what} returned {value}, which is no number")
        return value

    return Measure(entry.name, (rate.__doc__ or "").strip(), "", -math.inf, math.inf, unit, tie, checked)


def identity(entry: EntryPoint) -> str:
    """Return what a measure's values depend on: its ``identity``, or its package with the version."""
    loaded = entry.load()
    return f"{entry.name}:{getattr(loaded, 'identity', None) or _origin(entry)}"


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
