"""What both data sets share: rows read one by one, checked, cut into train and test by hash of the prompt."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from morlaif_core import Preference, Prompt, Split, UserError, content_hash

from .files import Row
from .source import Source

REPEATED = "repeated prompts"
UNREADABLE = "unreadable rows"
LISTED = 10
"""Bad rows that an error lists."""
HOPELESS = 10_000
"""Rows without a usable one after which the others are not read."""
ALONE = "answer called good or bad, without an opposite one to the same prompt"


class Skip(Exception):
    """A row that cannot be used; the message is the reason under which it is counted."""


class Bad(Skip):
    """A row that is broken, not merely of no use here; the data set has a limit to their share."""


class Pair(NamedTuple):
    """Two responses. ``p_a``: P(the first is better); ``labels``: the same by principle, None: not labelled under it."""

    a: str
    b: str
    p_a: float = 1.0
    labels: Mapping[str, float | None] = {}


class Single(NamedTuple):
    """A response that is good or bad, overall and by principle."""

    response: str
    good: bool
    labels: Mapping[str, bool | None] = {}


class Parsed(NamedTuple):
    """What a row says: a prompt, and what it has of labelled pairs or of a single response that is good or bad.

    ``note``: why a row is read for its prompt alone that seems to hold more; counted like rows that are left out.
    """

    prompt: Prompt
    pairs: tuple[Pair, ...] = ()
    single: Single | None = None
    note: str = ""


class Waiting:
    """Single responses that wait for one of the opposite kind to the same prompt. Each is used once, the earliest first,
    so that a prompt with many of them does not make every two a pair."""

    def __init__(self) -> None:
        self._by_prompt: dict[tuple[str, bool], deque[tuple[Single, str]]] = defaultdict(deque)

    def paired(self, parsed: Parsed, place: str) -> Parsed:
        """Return the row with the pair that its single response completes."""
        single = parsed.single
        if single is None:
            return parsed
        others = self._by_prompt[parsed.prompt.id, not single.good]
        if not others:
            self._by_prompt[parsed.prompt.id, single.good].append((single, place))
            return parsed
        other = others.popleft()[0]
        good, bad = (single, other) if single.good else (other, single)
        labels = {name: _better(good.labels[name], bad.labels[name]) for name in good.labels}
        return parsed._replace(pairs=(Pair(good.response, bad.response, 1.0, labels),))

    def places(self) -> set[str]:
        """Return where those stand that still wait."""
        return {place for waiting in self._by_prompt.values() for _, place in waiting}


def _better(one: bool | None, other: bool | None) -> float | None:
    return None if one is None or other is None else (1 + one - other) / 2


class RowsDataset:
    """A data set over a source of rows. ``parse`` raises `Skip` for an unusable row, `Bad` or UserError for a bad one.

    held_out: the share of prompts that are the test split where the source has none. bad_rows: the share of rows that may
    be bad.
    """

    def __init__(self, source: Source, parse: Callable[[Row], Parsed], held_out: float, bad_rows: float = 0.05) -> None:
        self._source = source
        self._parse = parse
        self._held_out = held_out
        self._bad_rows = bad_rows
        # Places, not counts: a row met again (by prompts and by preferences, in train and in test) counts once.
        self._skipped: dict[str, set[str]] = defaultdict(set)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Reason -> number of rows left out, over all splits read so far."""
        found = {reason: len(places) for reason, places in sorted(self._skipped.items())}
        if UNREADABLE in found:
            first = min(self._skipped[UNREADABLE], key=lambda place: int(place.split()[0])).partition(" ")[2]
            found[f"{UNREADABLE} (the first: {first})"] = found.pop(UNREADABLE)
        return found

    def prompts(self, split: Split) -> Iterator[Prompt]:
        """Yield the distinct prompts of a split, in order of first appearance."""
        seen: set[str] = set()
        for parsed in self._rows(split):
            if parsed.prompt.id not in seen:
                seen.add(parsed.prompt.id)
                yield parsed.prompt

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield every usable pair, duplicates too."""
        for parsed in self._rows(split):
            for pair in parsed.pairs:
                yield Preference(parsed.prompt, *pair)

    def _rows(self, split: Split) -> Iterator[Parsed]:
        """Parse a split's rows. Raises UserError at the end of a source without a usable one, or of too many bad ones."""
        own = self._source.has_test
        seen: set[str] = set()
        bad: dict[str, str] = {}
        waiting = Waiting()
        number = -1
        # A source without a test split is read whole for either, and each prompt has its side.
        for number, row in enumerate(self._source.rows(split if own else "train")):
            place = f"{number} {row.place}"
            parsed = self._parsed(row, place, bad)
            if parsed is None:
                if not seen and number + 1 >= HOPELESS:
                    break
                continue
            if parsed.prompt.id in seen:
                self._skipped[REPEATED].add(place)
            seen.add(parsed.prompt.id)
            if parsed.note:
                self._skipped[parsed.note].add(place)
            parsed = waiting.paired(parsed, place)
            # By prompt and not by row, so that a prompt's pairs are never in both splits.
            if own or self._side(parsed.prompt) == split:
                yield parsed
        if alone := waiting.places():
            self._skipped[ALONE].update(alone)
        if not seen or len(bad) > self._bad_rows * (number + 1):
            raise UserError(self._refusal(bool(seen), bad, number + 1))

    def _parsed(self, row: Row, place: str, bad: dict[str, str]) -> Parsed | None:
        """Parse a row; None: it is left out, and counted. bad: place -> what is wrong, of the bad rows so far."""
        try:
            if row.problem:
                raise UserError(row.problem)
            return _unicode(self._parse(row))
        except Skip as skip:
            reason, told = str(skip), str(skip) if isinstance(skip, Bad) else None
        except UserError as error:
            reason, told = UNREADABLE, str(error).removeprefix(row.place).lstrip(":, ")
        self._skipped[reason].add(place)
        if told is not None:
            bad[place] = told
        return None

    def _refusal(self, usable: bool, bad: Mapping[str, str], rows: int) -> str:
        """Say why a split is not used, with the first bad rows, what is wrong with several of them once."""
        if usable:
            head = f"{len(bad):,} of {rows:,} rows are bad, more than dataset.bad_rows allows ({self._bad_rows:g})"
        else:
            reasons = ", ".join(f"{reason} ({len(places)})" for reason, places in sorted(self._skipped.items()))
            head = f"no usable record; left out: {reasons or 'none, it is empty'}"
        lines, told = [], set[str]()
        for place, what in list(bad.items())[:LISTED]:
            lines.append(f"\n  {place.partition(' ')[2]}: {'the same' if what in told else what}")
            told.add(what)
        advice = "\nMend or remove these rows, or raise dataset.bad_rows to leave them out" if usable else ""
        return f"{self._source.name}: {head}{''.join(lines)}{advice}"

    def _side(self, prompt: Prompt) -> Split:
        # Salted, so that this cut says nothing about draws that others make by the prompt's id.
        share = int(content_hash("held_out", prompt.id), 16) / 16**16
        return "test" if share < self._held_out else "train"


def _unicode(parsed: Parsed) -> Parsed:
    """Return the row. Raises Bad for half of a surrogate pair, which JSON can spell and no file or tokenizer takes."""
    try:
        responses = [text for pair in parsed.pairs for text in (pair.a, pair.b)]
        responses += [parsed.single.response] if parsed.single else []
        for text in (*(turn.content for turn in parsed.prompt.messages), *responses):
            text.encode()
    except UnicodeEncodeError:
        raise Bad("text that is not Unicode") from None
    return parsed
