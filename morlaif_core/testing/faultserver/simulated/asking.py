"""What is asked and said, whichever API carries it: the judge's texts, the request's settings, the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from .faults import Fault
from .parsing import parse_judge_messages, parse_own_words

Turns = tuple[tuple[str, str], ...]
"""(role, text) of each turn."""


class Asked(NamedTuple):
    """What a judge's prompt asks. prompt: the last turn of the judged conversation; several questions: a joint request;
    abstain: "does not apply" is offered; rationale: a rationale is wanted before the verdict."""

    prompt: str
    first: str
    second: str
    questions: tuple[str, ...]
    abstain: bool = False
    rationale: bool = False


Reader = Callable[[Turns], Asked]
"""Finds what is asked in a request's turns. Raises ValueError where they are no judge's prompt."""


def read_prompt(turns: Turns) -> Asked:
    """Read the prompts of `morlaif_core`, in its words or a template's: what is asked stands in the last turn."""
    try:
        parsed = parse_judge_messages(turns[-1][1])
    except ValueError:
        parsed = parse_own_words(turns[-1][1])
    prompt = parsed.turns[-1][1] if parsed.turns else ""
    return Asked(prompt, parsed.first, parsed.second, parsed.questions, parsed.abstain, parsed.mode == "rationale")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a model. top: how many of the likeliest tokens are wanted per position, None: no log-probabilities;
    sampled: the temperature is not 0; seeded: the same body must get the same answer; schema: of the answer;
    tool: the name of the tool that the answer must call; prefix: the part of the prompt that may be cached."""

    model: str
    turns: Turns
    max_tokens: int | None
    prefix: str
    top: int | None = None
    sampled: bool = True
    seeded: bool = False
    choices: int = 1
    schema: Mapping[str, Any] | None = None
    tool: str | None = None


class Position(NamedTuple):
    """A token drawn, its log-probability, and the likeliest tokens there, best first."""

    token: str
    logprob: float
    top: list[tuple[str, float]]


class Tokens(NamedTuple):
    """Tokens of a request: the prompt's, those of them read from the cache, the answer's, those written to the cache."""

    input: int = 0
    cached: int = 0
    output: int = 0
    written: int = 0


Finish = Literal["stop", "length", "refusal", "content_filter"]


@dataclass(slots=True)
class Said:
    """An answer. positions: None where no log-probabilities were asked for; filled: the answer by its schema."""

    text: str
    finish: Finish
    tokens: int
    positions: list[Position] | None = None
    filled: Any = None


class Dialect(Protocol):
    """An API: how it asks, answers and complains."""

    def read(self, body: Mapping[str, Any]) -> Ask:
        """Read a request. Raises ValueError (KeyError, TypeError) for one that the API would refuse."""
        ...

    def write(self, ask: Ask, said: list[Said], model: str, tokens: Tokens | None, number: int) -> dict[str, Any]:
        """Return the body of an answer; tokens None: no usage."""
        ...

    def without_choices(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take the answer out of the body of an answer."""
        ...

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        """Return the body of an error."""
        ...

    def adapt(self, fault: Fault) -> Fault:
        """Return what takes a fault's place where this API reports it otherwise."""
        ...


def rendered(turns: Turns) -> str:
    """Return turns as one text, for counting tokens."""
    return "".join(role + "\n" + text + "\n" for role, text in turns)
