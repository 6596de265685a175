"""KTO: single answers, each called good or bad. A good and a bad one to the same prompt make a pair (see `rows`)."""

from __future__ import annotations

from ..rows import Parsed, Single
from .contents import response_of
from .labels import is_good
from .record import Record


def fits(record: Record) -> bool:
    """With a label or without: a completion alone is read for its prompt."""
    return "completion" in record.values


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    prompt, key = record.prompt(), record.options.label_column or "label"
    if record.options.label_column is None and key not in record.values:
        return Parsed(prompt, note=record.unread("completion"))
    good = is_good(record.value(key), record.place(key))
    if good is None:
        return Parsed(prompt, note="answer without a label")
    own = {
        principle: is_good(record.value(name), record.place(name)) for principle, name in record.options.labels.items()
    }
    return Parsed(prompt, single=Single(response_of(record.content("completion")), good, own))
