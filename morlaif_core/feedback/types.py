"""What goes into judging and what comes out: a judge by name, a task, a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from morlaif_core.config.judge_settings import FREE, Judging, Price
from morlaif_core.plugins.protocols import FeedbackProvider
from morlaif_core.types import Principle, ResponsePair

Status = Literal["ok", "tie", "not_applicable", "refused", "filtered", "off_label", "parse_error", "failed"]


Mode = Literal["logprob", "rationale", "structured", "joint", "text", "pair"]
"""logprob: one token, mass of the labels; rationale: the same after a rationale; structured: JSON with a verdict;
joint: JSON with a verdict for each of several principles; text: the letter itself; pair: the provider's probability."""


HARD: frozenset[Mode] = frozenset({"structured", "joint", "text"})
"""Modes whose verdicts are read from text: they have no log-odds of their own, and can be asked several times."""


class Counts(NamedTuple):
    """How often the samples of one order picked what stands first, second, or neither."""

    first: int = 0
    second: int = 0
    tie: int = 0


MIN_LABEL_MASS = 0.5
"""below this share of A and B together, an answer is off_label"""


@dataclass(frozen=True)
class NamedJudge:
    """A judge under its configured name. Made by `JudgeBench.judges`.

    Attributes:
        name: as under `judges`.
        build: makes the provider; called inside the event loop, once.
        judging: how it is asked.
        price: USD by tokens; None: not known.
        stops: it is stopped early where its answers have no labels; else only warned of.
    """

    name: str
    build: Callable[[], FeedbackProvider]
    judging: Judging
    price: Price | None = FREE
    stops: bool = True


@dataclass(frozen=True)
class Task:
    """One principle to be judged on one pair.

    Attributes:
        pair: whose responses are compared.
        principle: under which.
        judge: the name of who is asked.
        sample: above 0, the same is asked anew.
    """

    pair: ResponsePair
    principle: Principle
    judge: str
    sample: int = 0

    @property
    def id(self) -> tuple[str, str, str, str, int]:
        """What tells tasks apart: pair, principle and its text, judge, sample."""
        return self.pair.id, self.principle.name, self.principle.question, self.judge, self.sample


@dataclass(frozen=True)
class Verdict:
    """What a judge holds of a pair under a principle.

    Pairs of values are of the two orders, a first and b first; None where not asked.

    Attributes:
        pair: its id.
        principle, judge: names.
        status: ok, tie, or why there is no label.
        p_a: P(a is better) in [0, 1], 0.5 in a tie, None without a label.
        q: its log-odds, after `picks`.
        bias: position bias in log-odds of `p_first`, before `picks`; None where one order only was asked.
        first: log-odds of `p_first`, before `picks`, of labels alone.
        mode: how it was asked.
        statuses: of the two orders.
        censored: a label is not among the likeliest tokens, so that the log-odds are a bound.
        counts: picks of verdicts read from text.
        off: as `first`, of off_label answers.
        mass: probability of the labels.
        members: the verdicts of a panel's or cascade's members that were asked.
        cost: USD, None where a price is not known.
    """

    pair: str
    principle: str
    judge: str
    status: Status
    p_a: float | None = None
    q: float | None = None
    bias: float | None = None
    first: tuple[float | None, float | None] = (None, None)
    mode: Mode | Literal["panel", "cascade"] = "pair"
    statuses: tuple[Status | None, Status | None] = (None, None)
    censored: bool = False
    counts: tuple[Counts | None, Counts | None] = (None, None)
    off: tuple[float | None, float | None] = (None, None)
    mass: tuple[float | None, float | None] = (None, None)
    members: tuple[Verdict, ...] = ()
    cost: float | None = 0.0

    @property
    def hard(self) -> bool:
        """Whether it was read from text, so that its log-odds count picks and say nothing of how sure a judge is."""
        return self.mode in HARD
