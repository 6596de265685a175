"""The simulated judge: from what is asked to what a model would write, by a known preference."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from morlaif_core.feedback.answers.verdict import sigmoid

from .asking import Ask, Asked, Position, Reader, Said, read_prompt
from .labels import ODD_SPELLINGS, SPELLINGS, Spellings, after_space, label_tokens, plain, words
from .oracle import Abstains, KnownPreference, Oracle, log_odds, uniform
from .schema import RATIONALE, Verdict, fill

OUTSIDE = -9999.0
"""what servers write for a token outside the likeliest"""
_SURE = 0.9  # share of C among the labels where the question does not apply, and of A and B where it does: 0.99
_UNSURE = 0.01


@dataclass
class JudgeTraits:
    """Whom a simulated judge plays: fields of `FaultServer`, which describes them."""

    oracle: Oracle = field(default_factory=KnownPreference)
    bias: float = 0.0
    mass: float = 0.98
    spellings: Spellings = SPELLINGS
    abstains: Abstains | None = None
    ties: float = 0.0
    seed: int = 0
    reader: Reader = read_prompt


class Judge:
    """Answers as a model with these traits would."""

    def __init__(self, traits: JudgeTraits) -> None:
        self.traits = traits

    def say(self, ask: Ask, asked: Asked, key: str, draw: int, odd: str = "") -> Said:
        """Answer a request. key: the body's hash; draw: which of several drawn answers to that body this is.

        odd: a kind of odd answer that shows in the tokens.
        """
        views = [self._view(asked, question) for question in asked.questions]
        drawn = [self._drawn(view, ask, (key, draw, place)) for place, view in enumerate(views)]
        if ask.schema is not None:
            filled = fill(ask.schema, drawn)
            return _cut(ask, words(json.dumps(filled)), None, filled)
        return self._prose(ask, asked, views[0], drawn[0], odd)

    def _view(self, asked: Asked, question: str) -> _View:
        leaning = log_odds(self.traits.oracle(asked.first, asked.second, question)) + self.traits.bias
        applies = not (
            asked.abstain
            and self.traits.abstains is not None
            and self.traits.abstains(asked.prompt, asked.first, asked.second, question)
        )
        return _View(leaning, applies, asked.abstain)

    def _drawn(self, view: _View, ask: Ask, place: tuple[str, int, int]) -> Verdict:
        p = sigmoid(view.leaning)
        first = uniform(self.traits.seed, "draw", *place) < p if ask.sampled else p >= 0.5
        letter, p = ("A", p) if first else ("B", 1 - p)
        if not view.applies:
            return Verdict("C", _SURE, letter)
        tied = ask.schema is not None and abs(view.leaning) < self.traits.ties
        return Verdict("tie", 0.5, letter) if tied else Verdict(letter, p, letter)

    def _prose(self, ask: Ask, asked: Asked, view: _View, drawn: Verdict, odd: str) -> Said:
        """A letter, or a rationale and a last line with the letter; with log-probabilities where asked for."""
        before = words(RATIONALE + "\nVerdict:") if asked.rationale else []
        spellings = ODD_SPELLINGS if odd == "odd_spelling" else self.traits.spellings
        spellings = after_space(spellings) if asked.rationale else spellings
        main = spellings[0][0].format(drawn.letter)
        if ask.top is None:
            return _cut(ask, [*before, main], None)
        listed = label_tokens(view.labels(), self.traits.mass, spellings)
        # A model that is not held to letters writes what is likeliest; sampled, and after "Verdict:", a label.
        chosen = main if ask.sampled or asked.rationale else listed[0][0]
        positions = [plain(token, ask.top) for token in before]
        positions.append(Position(chosen, dict(listed).get(chosen, OUTSIDE), listed[: ask.top]))
        return _cut(ask, [*before, chosen], positions)


@dataclass(frozen=True)
class _View:
    """leaning: log-odds of the first as the judge sees it, bias included."""

    leaning: float
    applies: bool
    offered: bool

    def labels(self) -> dict[str, float]:
        first = sigmoid(self.leaning)
        if not self.offered:
            return {"A": first, "B": 1 - first}
        none = _UNSURE if self.applies else _SURE
        return {"A": first * (1 - none), "B": (1 - first) * (1 - none), "C": none}


def _cut(ask: Ask, tokens: list[str], positions: list[Position] | None, filled: object = None) -> Said:
    """End where the request allows no more tokens."""
    limit = len(tokens) if ask.max_tokens is None else ask.max_tokens
    # One letter where one token is allowed: servers say length, since they never saw the end.
    short = limit < len(tokens) or (limit == len(tokens) == 1 == ask.max_tokens)
    tokens = tokens[:limit]
    kept = positions[:limit] if positions is not None else None
    return Said(
        "".join(tokens), "length" if short else "stop", len(tokens), kept, None if limit < len(tokens) else filled
    )
