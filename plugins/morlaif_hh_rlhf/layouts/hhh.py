"""BIG-bench's HHH: an input, and two choices of which one is labelled 1.

Leaves out: rows with more than two choices, of which the labels make no pair.
"""

from __future__ import annotations

from collections.abc import Mapping

from morlaif_core import UserError

from ..rows import Pair, Parsed, Skip
from .contents import prompt_of, typed
from .record import Record


def fits(record: Record) -> bool:
    """Targets that hold choices."""
    targets = record.values.get("targets")
    return isinstance(targets, Mapping) and "choices" in targets


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    targets, place = record.value("targets"), record.place("targets")
    assert isinstance(targets, Mapping)
    choices, labels = targets.get("choices"), targets.get("labels")
    if not isinstance(choices, list) or not isinstance(labels, list) or len(choices) != len(labels):
        raise UserError(f"{place}: expected are lists `choices` and `labels` of equal length")
    prompt = record.with_system(prompt_of(typed(record.value("input"), record.place("input"))))
    if labels not in ([0, 1], [1, 0]):
        raise Skip("choices of which not one of two is the better")
    first, second = (str(choice) for choice in choices)
    return Parsed(prompt, (Pair(first, second, float(labels[0]), {}),))
