"""UltraFeedback: several responses to one instruction, each rated under several aspects.

Every two responses make a pair. The higher rating wins, equal ones are a tie: ratings are of each response alone, and by
how much they differ says nothing of how sure anyone is. Overall, the higher mean over the aspects that both are rated
under wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from morlaif_core import UserError

from ..rows import Pair, Parsed, Skip
from .contents import response_of, typed
from .labels import rating
from .record import Record

SCORES = ("overall_score", "fine-grained_score")
"""What labels may name beside an aspect."""


class Rated(NamedTuple):
    """A response, its ratings by aspect, and UltraFeedback's own numbers of it as a whole; None: not rated."""

    text: str
    ratings: Mapping[str, float | None]
    scores: Mapping[str, float | None]


def fits(record: Record) -> bool:
    """A list of completions, that is, which may be empty; TRL's ``completions`` of its stepwise form are text."""
    found = record.values.get("completions")
    if not isinstance(found, Sequence) or isinstance(found, str):
        return False
    return any(isinstance(item, Mapping) and "response" in item for item in found) or (
        not found and "instruction" in record.values
    )


def read(record: Record) -> Parsed:
    """Read one row. Raises Skip, or UserError where a column is missing or of another type."""
    prompt = record.prompt("instruction")
    place = record.place("completions")
    found = record.value("completions")
    assert isinstance(found, Sequence)
    rated = [item for item in (_rated(item, f"{place}, {number}") for number, item in enumerate(found)) if item.text]
    if len(rated) < 2:
        return Parsed(prompt, note="no two responses")
    aspects = list(dict.fromkeys(name for item in rated for name in (*item.ratings, *item.scores)))
    for name in (*record.options.labels.values(), *filter(None, [record.options.label_column])):
        if aspects and name not in aspects:
            raise UserError(f"{place}: no ratings '{name}'; there are: {', '.join(aspects)}")
    pairs: list[Pair] = []
    notes: list[str] = []
    for one, other in combinations(rated, 2):
        overall = [record.options.label_column] if record.options.label_column else list(one.ratings)
        parsed = record.labelled(
            prompt,
            (one.text, other.text),
            _better(one, other, overall),
            lambda name, one=one, other=other: _better(one, other, [name]),  # type: ignore[misc]
        )
        pairs += parsed.pairs
        notes += [parsed.note] if parsed.note else []
    return Parsed(prompt, tuple(pairs), note=notes[0] if notes else "")


def _rated(item: object, place: str) -> Rated:
    if not isinstance(item, Mapping) or "response" not in item:
        raise UserError(f"{place} has no 'response'")
    notes = item.get("annotations") or {}
    if not isinstance(notes, Mapping):
        raise UserError(f"{place}: 'annotations' is {type(notes).__name__}; expected is a mapping of aspects")
    ratings = {
        str(aspect): rating(note.get("Rating"), f"{place}: '{aspect}'")
        for aspect, note in ((aspect, _single(note)) for aspect, note in notes.items())
        if isinstance(note, Mapping)
    }
    scores = {name: rating(item[name], f"{place}: '{name}'") for name in SCORES if name in item}
    try:
        text = response_of(typed(item["response"], f"{place}: 'response'"))
    except Skip:
        text = ""  # one without text costs its own pairs, not those of the others
    return Rated(text, ratings, scores)


def _single(note: object) -> object:
    """An aspect's rating, which some copies of the data set put into a list of its own."""
    return note[0] if isinstance(note, list) and len(note) == 1 else note


def _better(one: Rated, other: Rated, aspects: Sequence[str]) -> float | None:
    ours, theirs = {**one.scores, **one.ratings}, {**other.scores, **other.ratings}
    both = [(ours.get(name), theirs.get(name)) for name in aspects]
    differences = [a - b for a, b in both if a is not None and b is not None]
    if not differences:
        return None
    total = sum(differences)
    return 0.5 if total == 0 else float(total > 0)
