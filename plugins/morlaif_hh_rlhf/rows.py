"""What both data sets share: rows read one by one, checked, cut into train and test by hash of the prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from morlaif_core import Preference, Prompt, Split, UserError, content_hash

from .files import Row
from .source import Source


class Skip(Exception):
    """A row that cannot be used; the message is the reason under which it is counted."""


class Parsed(NamedTuple):
    """What a row says: a prompt, and the preferred and the other response where it has them."""

    prompt: Prompt
    pair: tuple[str, str] | None = None


class RowsDataset:
    """A data set over a source of rows. ``parse`` raises `Skip` for an unusable row, UserError for a malformed one."""

    def __init__(self, source: Source, parse: Callable[[Row], Parsed], held_out: float) -> None:
        self._source = source
        self._parse = parse
        self._held_out = held_out
        # Places, not counts: a row met again (by prompts and by preferences, in train and in test) counts once.
        self._skipped: dict[str, set[str]] = defaultdict(set)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Reason -> number of rows left out, over all splits read so far."""
        return {reason: len(places) for reason, places in sorted(self._skipped.items())}

    def prompts(self, split: Split) -> Iterator[Prompt]:
        """Yield the distinct prompts of a split, in order of first appearance."""
        seen: set[str] = set()
        for parsed in self._rows(split):
            if parsed.prompt.id not in seen:
                seen.add(parsed.prompt.id)
                yield parsed.prompt

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield every usable pair, duplicates too; a is the preferred response, so ``p_a`` is 1."""
        for prompt, pair in self._rows(split):
            if pair is not None:
                yield Preference(prompt, *pair, p_a=1.0)

    def _rows(self, split: Split) -> Iterator[Parsed]:
        """Parse a split's rows. Raises UserError at the end of a source without a usable one."""
        own = self._source.has_test
        usable = False
        # A source without a test split is read whole for either, and each prompt has its side.
        for number, row in enumerate(self._source.rows(split if own else "train")):
            try:
                parsed = _unicode(self._parse(row))
            except Skip as skip:
                self._skipped[str(skip)].add(f"{number} {row.place}")
                continue
            usable = True
            # By prompt and not by row, so that a prompt's pairs are never in both splits.
            if own or self._side(parsed.prompt) == split:
                yield parsed
        if not usable:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in self.skipped.items())
            raise UserError(f"{self._source.name}: no usable record; left out: {reasons or 'none, it is empty'}")

    def _side(self, prompt: Prompt) -> Split:
        # Salted, so that this cut says nothing about draws that others make by the prompt's id.
        share = int(content_hash("held_out", prompt.id), 16) / 16**16
        return "test" if share < self._held_out else "train"


def _unicode(parsed: Parsed) -> Parsed:
    """Return the row. Raises Skip for half of a surrogate pair, which JSON can spell and no file or tokenizer takes."""
    try:
        for text in (*(turn.content for turn in parsed.prompt.messages), *(parsed.pair or ())):
            text.encode()
    except UnicodeEncodeError:
        raise Skip("text that is not Unicode") from None
    return parsed
