"""HelpSteer3: a context, two responses, and how much better one is, from -3 (the first) to 3 (the second)."""

from __future__ import annotations

from ..rows import Parsed
from .contents import response_of
from .labels import strength
from .record import Record


def fits(record: Record) -> bool:
    """Either column: one alone is an error of `read`."""
    return "response1" in record.values or "response2" in record.values


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    both = response_of(record.content("response1")), response_of(record.content("response2"))
    return record.pair(record.prompt("context"), both, strength, "overall_preference")
