"""Chatbot-Arena: two conversations and the winner.

Leaves out: conversations that differ before their last answer, as those of several turns do; nobody compared two answers
to one prompt there.
"""

from __future__ import annotations

from morlaif_core import UserError

from ..rows import Parsed
from .contents import split_last
from .labels import winner
from .record import Record


def fits(record: Record) -> bool:
    """Either column: one alone is an error of `read`."""
    return "conversation_a" in record.values or "conversation_b" in record.values


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    both = []
    for key in ("conversation_a", "conversation_b"):
        turns = record.content(key)
        if isinstance(turns, str):
            raise UserError(f"{record.place(key)} is text; expected is a list of messages")
        both.append(turns)
    prompt, first, second = split_last(*both)
    return record.pair(prompt, (first, second), winner, "winner")
