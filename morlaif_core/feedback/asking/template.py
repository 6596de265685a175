"""A judge's prompt in the user's own words: a text with places for what is judged and asked, read and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.types import content_hash

TEXTS = ("conversation", "response_A", "response_B")
"""Places of what is judged: each once, before the question."""
PLACES = (*TEXTS, "examples", "question", "answer")
"""All places: examples and answer may be left out."""
_PLACE = re.compile(r"\{(\w+)\}")


class Template(NamedTuple):
    """The words around what is judged.

    system: the system turn. head, tail: the user turn up to what is asked and from there on, cut at the places: text,
    place, text, …, text.
    """

    system: str
    head: tuple[str, ...]
    tail: tuple[str, ...]

    @property
    def hash(self) -> str:
        """16 hex digits that depend on all words and places."""
        return content_hash("judging.template 1", *self)

    @property
    def has_examples(self) -> bool:
        """Whether few-shot examples have a place."""
        return "examples" in self.tail[1::2]


def read_template(file: str) -> Template:
    """Read and check a template's file. Raises `UserError` naming the file, what is wrong and what to do."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"judging.template: {file} cannot be read ({error}); give a text file in UTF-8") from None
    try:
        return parse_template(text)
    except ValueError as error:
        raise UserError(f"judging.template: {file}: {error}") from None


def parse_template(text: str) -> Template:
    """Cut a template at its places. Raises `ValueError` with advice where it is not one."""
    system, line, user = text.replace("\r\n", "\n").removesuffix("\n").partition("\n---\n")
    if not line:
        raise ValueError("it has no line `---`; write the system turn, this line, then the user turn")
    if inside := _PLACE.findall(system):
        raise ValueError(f"{{{inside[0]}}} stands in the system turn; places belong behind the line `---`")
    pieces = _PLACE.split(user)
    _check(pieces[1::2])
    # Where the first place of what is asked stands: all before it is shared by all principles of a pair.
    cut = 2 * next(n for n, place in enumerate(pieces[1::2]) if place not in TEXTS)
    return Template(system, tuple(pieces[: cut + 1]), ("", *pieces[cut + 1 :]))


def _check(places: list[str]) -> None:
    for place in places:
        if place not in PLACES:
            known = ", ".join(f"{{{name}}}" for name in PLACES)
            raise ValueError(f"there is no place {{{place}}}.{did_you_mean(place, list(PLACES))} Places: {known}")
        if places.count(place) > 1:
            raise ValueError(f"{{{place}}} stands there twice; leave one out")
    for place in (*TEXTS, "question"):
        if place not in places:
            raise ValueError(f"{{{place}}} is missing: the judge would not see it; put it behind the line `---`")
    late = [place for place in places[len(TEXTS) :] if place in TEXTS]
    if late:
        # Prefix caches serve what requests have in common at their beginning.
        raise ValueError(
            f"{{{late[0]}}} stands behind what is asked; put conversation and responses first: all principles of a pair "
            "then share what stands before the question, which makes judging cheaper"
        )
