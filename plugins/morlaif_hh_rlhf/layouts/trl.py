"""TRL's preference form: ``chosen`` and ``rejected``, as text or messages, with a prompt of its own or inside both."""

from __future__ import annotations

from ..hh import hh_pair
from ..rows import Parsed
from .contents import HUMAN, is_whole, response_of, split_last
from .labels import share
from .record import Record


def fits(record: Record) -> bool:
    """One of the two columns alone is an error of `read`, and so is none where the options name one: a preference is not
    to pass for a mere prompt."""
    columns = (record.options.chosen_column, record.options.rejected_column)
    return columns != ("chosen", "rejected") or any(key in record.values for key in columns)


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    options = record.options
    chosen, rejected = record.content(options.chosen_column), record.content(options.rejected_column)
    conversation = any(key in record.values for key in (options.prompt_column, "conversations", "messages"))
    if isinstance(chosen, list) and isinstance(rejected, list) and is_whole(chosen) and is_whole(rejected):
        prompt, *both = split_last(chosen, rejected)
    elif not conversation and isinstance(chosen, str) and isinstance(rejected, str) and HUMAN in chosen:
        prompt, *both = hh_pair(chosen, rejected)
    else:
        prompt = record.prompt("conversations", "messages")
        both = [response_of(chosen), response_of(rejected)]
    first, second = both

    def label(name: str) -> float | None:
        return share(record.value(name), record.place(name))

    p_a = label(options.label_column) if options.label_column else 1.0
    return record.labelled(prompt, (first, second), p_a, label)
