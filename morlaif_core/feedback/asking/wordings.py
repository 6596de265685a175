"""How a principle is put to a judge for one pair: phrasing and example pairs, drawn by hashes, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from morlaif_core.types import Example, Principle, ResponsePair, content_hash, texts_id


class Shot(NamedTuple):
    """An example pair as a judge sees it. letter: which of the two the principle's question asks for."""

    prompt: str
    first: str
    second: str
    letter: Literal["A", "B"]


class Wording(NamedTuple):
    """What is asked of a pair, and the example pairs shown with it."""

    question: str
    shots: tuple[Shot, ...] = ()

    @property
    def hash(self) -> str:
        """16 hex digits that depend on question and shots."""
        return content_hash(self.question, self.shots)


def worded(principle: Principle, pair: str) -> Principle:
    """Draw one of question and phrasings by a hash of pair and principle: the same in both orders and in every run.

    principle: with its phrasings. pair: the pair's id.

    >>> worded(Principle("calm", "Which is calmer?", phrasings=("Which shouts less?",)), "pair-7").question
    'Which is calmer?'
    """
    return replace(principle, question=_question(principle, pair)) if principle.phrasings else principle


def _question(principle: Principle, pair: str) -> str:
    if not principle.phrasings:
        return principle.question
    wordings = (principle.question, *principle.phrasings)
    # By name, not by text: to mend one phrasing must not draw the others anew.
    return wordings[int(content_hash("wording", texts_id(pair), principle.name), 16) % len(wordings)]


def wording_of(principle: Principle, pair: ResponsePair, few_shots: int) -> Wording:
    """Return how a principle is put to a pair, in both orders alike."""
    return Wording(_question(principle, pair.id), _shots(principle, pair, few_shots))


def joint_order(principles: Sequence[Principle], pair: str) -> tuple[Principle, ...]:
    """Draw the order in which a joint request asks its principles, by a hash of the pair."""
    return tuple(sorted(principles, key=lambda principle: content_hash("joint", texts_id(pair), principle.name)))


def _shots(principle: Principle, pair: ResponsePair, n: int) -> tuple[Shot, ...]:
    """Draw n examples (all, where there are fewer). As many answers are A as B, or one more of either.

    An example that is the judged pair itself (a check of judges asks for these) would give its answer away.
    """
    if n == 0:
        return ()
    judged = {pair.a, pair.b}
    others = [example for example in principle.examples if {example.a, example.b} != judged]
    drawn = _shuffled(len(others), "shot", texts_id(pair.id), principle.name)[:n]
    # An even number of places is half A, half B; of an odd number of shots the place left over decides.
    places = _shuffled(len(drawn) + len(drawn) % 2, "letter", texts_id(pair.id), principle.name)
    return tuple(
        _shot(others[which], principle.picks, "A" if place % 2 else "B")
        for which, place in zip(drawn, places, strict=False)
    )


def _shot(example: Example, picks: Literal["better", "worse"], letter: Literal["A", "B"]) -> Shot:
    best, other = (example.a, example.b) if example.winner == "a" else (example.b, example.a)
    asked_for, rest = (best, other) if picks == "better" else (other, best)
    return Shot(example.prompt, *((asked_for, rest) if letter == "A" else (rest, asked_for)), letter)


def _shuffled(n: int, *seed: str) -> list[int]:
    """Return 0 to n - 1 in an order that depends on the seed alone, for good: the ledger's keys hang on it."""
    # By hash, since Python does not promise `random.shuffle` to be the same in every version.
    return sorted(range(n), key=lambda place: content_hash(*seed, place))
