"""PKU-SafeRLHF: two responses by number, and columns that hold the number of the better and of the safer one."""

from __future__ import annotations

from ..rows import Parsed
from .contents import response_of
from .labels import better_id
from .record import Record


def fits(record: Record) -> bool:
    """Either column: one alone is an error of `read`."""
    return "response_0" in record.values or "response_1" in record.values


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    both = response_of(record.content("response_0")), response_of(record.content("response_1"))
    return record.pair(record.prompt(), both, better_id, "better_response_id")
