"""A prompt alone, or a conversation (``messages``, ShareGPT's ``conversations``) that ends with it or with its answer."""

from __future__ import annotations

from morlaif_core import UserError

from ..rows import Parsed
from .contents import prompt_of
from .record import Record


def fits(record: Record) -> bool:
    """The last layout takes what no other does."""
    return True


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    key = next(
        (key for key in (record.options.prompt_column, "messages", "conversations") if key in record.values), None
    )
    if key is None or key == record.options.prompt_column:
        key = record.options.prompt_column
        return Parsed(record.prompt(), note=record.unread(key))
    turns = record.content(key)
    if isinstance(turns, str):
        raise UserError(f"{record.place(key)} is text; expected is a list of messages")
    # The answer is nobody's choice between two, and the prompt ends with the user's turn.
    while turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    return Parsed(record.with_system(prompt_of(turns)), note=record.unread(key))
