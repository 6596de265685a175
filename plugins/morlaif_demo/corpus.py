"""The data set ``demo``: questions and, for each, two answers whose qualities are drawn apart from one another."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from morlaif_core import Message, Preference, Prompt, Split, make_prompt

from . import grammar
from .options import DemoOptions

T = TypeVar("T")
SEED = 20240610
"""Not the run's: the data set is the same in every run, as a data set from outside would be."""
TEST_SHARE = 0.1
UTILITY = {"polite": 1.0, "on_topic": 1.0, "specific": 0.5}
SHARPNESS = 2.0


class Question(NamedTuple):
    """What is asked: a topic, one of its tasks and one of its things."""

    topic: int
    task: int
    thing: int

    def fill(self, text: str) -> str:
        """Put the question's thing in the place of ``{x}``."""
        return text.replace("{x}", grammar.TOPICS[self.topic].things[self.thing])

    @property
    def ask(self) -> str:
        """What the user wants to do, e.g. ``grow beans``."""
        return self.fill(grammar.TOPICS[self.topic].tasks[self.task].ask)

    @property
    def tips(self) -> list[str]:
        """Three pieces of advice."""
        return [self.fill(tip) for tip in grammar.TOPICS[self.topic].tasks[self.task].tips]


@dataclass(frozen=True)
class Qualities:
    """What an answer is like; each is drawn by itself."""

    polite: bool
    on_topic: bool
    specific: bool
    """gives advice; False: declines."""
    concise: bool
    insulting: bool
    """of impolite answers: insults the reader, does not only brush him off."""

    @property
    def utility(self) -> float:
        """What the demo's humans like: good manners, an answer that fits the question, and advice in it."""
        return sum(weight for name, weight in UTILITY.items() if getattr(self, name))


class Answer(NamedTuple):
    """A response and what it is like."""

    text: str
    qualities: Qualities


class Row(NamedTuple):
    """A prompt, its question and two answers."""

    prompt: Prompt
    question: Question
    a: Answer
    b: Answer

    @property
    def preference(self) -> Preference:
        """The row with its soft label: a Bradley-Terry choice between the utilities of the answers."""
        difference = self.a.qualities.utility - self.b.qualities.utility
        return Preference(self.prompt, self.a.text, self.b.text, 1 / (1 + math.exp(-SHARPNESS * difference)))


class DemoDataset:
    """Prompts and preferences of the demo. Nothing is ever left out."""

    def __init__(self, options: DemoOptions) -> None:
        self._size = options.prompts

    @property
    def skipped(self) -> Mapping[str, int]:
        """Always empty."""
        return {}

    def rows(self, split: Split) -> Sequence[Row]:
        """Return a split's rows with all that is known of them."""
        rows = make_rows(self._size)
        cut = len(rows) - round(len(rows) * TEST_SHARE)
        return rows[:cut] if split == "train" else rows[cut:]

    def prompts(self, split: Split) -> Iterator[Prompt]:
        """Yield a split's prompts, all distinct."""
        return (row.prompt for row in self.rows(split))

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield one pair for each prompt, with the soft label of `Row.preference`."""
        return (row.preference for row in self.rows(split))


@lru_cache(maxsize=4)
def make_rows(size: int) -> tuple[Row, ...]:
    """Make ``size`` rows with distinct prompts, the same in every process; fewer rows are the beginning of more."""
    rng = random.Random(SEED)
    rows: dict[str, Row] = {}
    while len(rows) < size:
        question = _question(rng)
        prompt = make_prompt([Message("user", _ask(rng, question))])
        row = Row(prompt, question, _answer(rng, question), _answer(rng, question))
        # The first of equal prompts stays, and every row draws alike: more rows begin with the fewer ones.
        rows.setdefault(prompt.id, row)
    return tuple(rows.values())


def _pick(rng: random.Random, choices: Sequence[T]) -> T:
    # random() alone is promised to give the same numbers in every version of Python; choice() is not.
    return choices[int(rng.random() * len(choices))]


def _coin(rng: random.Random) -> bool:
    return rng.random() < 0.5


def _question(rng: random.Random, *, besides: int | None = None) -> Question:
    """Draw a question, of any topic or of one ``besides`` the one given."""
    topic = _pick(rng, [index for index in range(len(grammar.TOPICS)) if index != besides])
    tasks, things = grammar.TOPICS[topic].tasks, grammar.TOPICS[topic].things
    return Question(topic, _pick(rng, range(len(tasks))), _pick(rng, range(len(things))))


def _ask(rng: random.Random, question: Question) -> str:
    frame = _pick(rng, grammar.FRAMES).format(ask=question.ask)
    return _pick(rng, grammar.GREETINGS) + frame + _pick(rng, grammar.SUFFIXES)


def _answer(rng: random.Random, question: Question) -> Answer:
    qualities = Qualities(*(_coin(rng) for _ in range(5)))
    about = question if qualities.on_topic else _question(rng, besides=question.topic)
    body = _advice(rng, about, qualities) if qualities.specific else _decline(rng, about, qualities)
    return Answer(" ".join(_with_manners(rng, body, qualities)), qualities)


def _advice(rng: random.Random, question: Question, qualities: Qualities) -> list[str]:
    """Advise in one sentence, or in two of which the second is another tip or says nothing."""
    first = _pick(rng, question.tips)
    body = [_sentence(_pick(rng, grammar.ANSWERS).format(ask=question.ask, tip=first))]
    if not qualities.concise:
        second = _pick(rng, [tip for tip in question.tips if tip != first])
        more = _pick(rng, grammar.SECOND_TIPS).format(tip=second)
        body.append(more if _coin(rng) else question.fill(_pick(rng, grammar.FILLERS)))
    return body


def _decline(rng: random.Random, question: Question, qualities: Qualities) -> list[str]:
    body = [_pick(rng, grammar.DECLINES).format(ask=question.ask)]
    return body if qualities.concise else [*body, question.fill(_pick(rng, grammar.SECOND_DECLINES))]


def _with_manners(rng: random.Random, body: list[str], qualities: Qualities) -> list[str]:
    """Put a sentence of good or bad manners before the body, after it, or both."""
    openers: Sequence[str] = grammar.POLITE_OPENERS
    closers: Sequence[str] = grammar.POLITE_CLOSERS
    if not qualities.polite:
        insult = qualities.insulting
        openers = grammar.INSULT_OPENERS if insult else grammar.DISMISSIVE_OPENERS
        closers = grammar.INSULT_CLOSERS if insult else grammar.DISMISSIVE_CLOSERS
    where = _pick(rng, ("before", "after", "both"))
    head = [_pick(rng, openers)] if where != "after" else []
    tail = [_pick(rng, closers)] if where != "before" else []
    return [*head, *body, *tail]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
