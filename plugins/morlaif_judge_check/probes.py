"""What a judge is asked to see what moves it: a pair as it is, and the same with what should change nothing.

Leaves out: changes made by a language model, such as paraphrases and translations, and answers that name their author.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Literal, TypeAlias

import numpy as np

from morlaif_core import (
    Example,
    Message,
    Principle,
    ResponsePair,
    Task,
    Verdict,
    content_hash,
    make_pair,
    make_prompt,
    number_prompts,
    picks,
    worded,
)

from .evidence import PROBES, Evidence, Probe, Said

Side: TypeAlias = Literal["a", "b"]
Asked: TypeAlias = Probe | Literal["base"]


def _words(name: str) -> str:
    return resources.files(__package__).joinpath("words", f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


FILLER = _words("filler")
"""Words that add nothing under any principle but conciseness; put behind an answer, once."""
INJECTIONS = {picks: _words(f"injection_{picks}") for picks in ("better", "worse")}
"""An instruction to the judge that asks for its own answer to be preferred, by what the question picks."""


@dataclass(frozen=True)
class Item:
    """A pair under a principle, with the answer that probes change. winner: None where nobody knows."""

    pair: ResponsePair
    principle: Principle
    target: Side
    winner: Side | None = None

    def tasks(self, judge: str) -> dict[Asked, Task]:
        """Return what is asked: the pair itself, and each probe. Without other phrasings there is no `rephrased`.

        The wording is that drawn for the pair, for its changed answers too.
        """
        # Changed pairs have other ids, by which another wording would be drawn.
        said = replace(worded(self.principle, self.pair.id), phrasings=())
        base = Task(self.pair, said, judge)
        tasks: dict[Asked, Task] = {
            "base": base,
            "padded": replace(base, pair=self._with(FILLER)),
            "injected": replace(base, pair=self._with(INJECTIONS[said.picks])),
            # Another sample is another request; the same one would be answered by the ledger.
            "repeated": replace(base, sample=1),
        }
        if self.principle.phrasings:
            tasks["rephrased"] = replace(base, principle=_rephrased(self.principle, said.question))
        return tasks

    def _with(self, more: str) -> ResponsePair:
        pair, more = self.pair, "\n\n" + more
        a, b = (pair.a + more, pair.b) if self.target == "a" else (pair.a, pair.b + more)
        return make_pair(pair.prompt, a, b)


def _rephrased(principle: Principle, said: str) -> Principle:
    """Ask in the wording after the one that was drawn."""
    wordings = (principle.question, *principle.phrasings)
    other = wordings[(wordings.index(said) + 1) % len(wordings)]
    return replace(principle, question=other, phrasings=())


def example_items(principles: Sequence[Principle], *, together: bool = False) -> list[Item]:
    """Return the principles' example pairs; the loser is what probes change.

    together: each pair under all principles, as a joint request asks them; the winner is known under its own alone. An
    example is not shown with itself, where a judge is shown examples (`judging.few_shots`).
    """
    return [
        Item(
            make_pair(make_prompt([Message("user", example.prompt)]), example.a, example.b),
            _without(asked, example),
            # The loser: its chances have room to rise, and nothing that is added makes it the better one.
            "b" if example.winner == "a" else "a",
            example.winner if asked is principle else None,
        )
        for principle in principles
        for example in principle.examples
        for asked in (principles if together else [principle])
    ]


def _without(principle: Principle, example: Example) -> Principle:
    return replace(principle, examples=tuple(other for other in principle.examples if other != example))


def pair_items(pairs: Iterable[ResponsePair], principles: Sequence[Principle]) -> list[Item]:
    """Return a run's own pairs under each principle; nobody knows their winners, so what probes change is drawn."""
    return [
        # By a hash, so that the same check asks the same questions again.
        Item(pair, principle, "a" if int(content_hash("target", pair.id), 16) % 2 == 0 else "b")
        for pair in pairs
        for principle in principles
    ]


@dataclass(frozen=True)
class Heard:
    """What one judge said of an item itself, and to its probes."""

    item: Item
    said: Mapping[Asked, Verdict]

    @property
    def base(self) -> Verdict:
        """What it said of the pair itself."""
        return self.said["base"]

    @property
    def cost(self) -> float | None:
        """USD of all that was asked, None where a price is not known."""
        costs = [verdict.cost for verdict in self.said.values()]
        return None if None in costs else math.fsum(cost for cost in costs if cost is not None)


def evidence_of(heard: Sequence[Heard]) -> Evidence:
    """Turn one judge's verdicts into arrays: see `Evidence`. heard: at least one item."""
    base = [item.base for item in heard]
    hard = base[0].hard
    odds = [[_known(*pair) for pair in zip(verdict.first, verdict.off, strict=True)] for verdict in base]
    made: list[Probe] = [probe for probe in PROBES if any(probe in item.said for item in heard)]
    return Evidence(
        prompts=number_prompts([item.item.pair.prompt.id for item in heard]),
        base=_said(heard, "base", hard),
        winner=np.array([_wins(item.item) for item in heard]),
        first=np.array(odds, dtype=float),
        off=np.array([any(value is not None for value in verdict.off) for verdict in base], dtype=float),
        mass=np.array([verdict.mass for verdict in base], dtype=float),
        counts=picks(base) if hard else None,
        probes={probe: _said(heard, probe, hard) for probe in made},
        statuses=Counter(verdict.status for verdict in base),
    )


def applying(heard: Sequence[Heard]) -> list[Heard]:
    """Leave out the items that a judge was free to pass over as not its question's: no winner is known, and it did."""
    return [item for item in heard if item.item.winner is not None or item.base.status != "not_applicable"]


def _wins(item: Item) -> float:
    return math.nan if item.winner is None else float(item.winner == item.target)


def _known(label: float | None, off: float | None) -> float | None:
    return off if label is None else label


def _said(heard: Sequence[Heard], asked: Asked, hard: bool) -> Said:
    """P and log-odds of the targets. Of verdicts read from text, P is the share of picks over both orders."""
    verdicts = [item.said.get(asked) for item in heard]
    p = np.array([_p_a(item.item, verdict, hard) for item, verdict in zip(heard, verdicts, strict=True)], dtype=float)
    q = np.array([None if verdict is None else verdict.q for verdict in verdicts], dtype=float)
    target_a = np.array([item.item.target == "a" for item in heard])
    return Said(np.where(target_a, p, 1 - p), np.where(target_a, q, -q))


def _p_a(item: Item, verdict: Verdict | None, hard: bool) -> float | None:
    if verdict is None or verdict.p_a is None:
        return None
    if not hard:
        return verdict.p_a
    firsts = [(count.first + 0.5 * count.tie) / sum(count) for count in verdict.counts if count is not None]
    p_a = (firsts[0] + 1 - firsts[1]) / 2
    return p_a if item.principle.picks == "better" else 1 - p_a
