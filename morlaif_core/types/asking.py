"""What passes between the core and a judge: principles, requests, answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .texts import Message, Prompt


@dataclass(frozen=True)
class Example:
    """A pair whose winner under a principle is known.

    Attributes:
        prompt: the user's text.
        a, b: the responses.
        winner: which of them is better, a or b.

    >>> Example("Hi", a="Hello.", b="What now?", winner="a").winner
    'a'
    """

    prompt: str
    a: str
    b: str
    winner: Literal["a", "b"]


@dataclass(frozen=True)
class Principle:
    """What a judge is asked.

    Attributes:
        name: small letters, digits, ``-`` and ``_``.
        question: as a judge gets it: "Which response is …?"
        picks: worse: the question names the worse response; applied once, on reading.
        phrasings: other wordings of the question.
        examples: pairs whose winner is known.
    """

    name: str
    question: str
    picks: Literal["better", "worse"] = "better"
    phrasings: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Request:
    """A principle asked of a pair in one order: the provider sees what stands first and second, never which is a.

    Attributes:
        prompt: what the responses answer.
        first, second: the responses in the order asked.
        principle: what is asked.
        messages: the request in words, for providers that read messages.
        max_tokens: the most that an answer may have.
        temperature: of sampling; None: the provider's own.
        top_logprobs: how many log-probabilities are wanted at each position; 0: none.
        schema: JSON schema that the answer's text must follow; None: free text.
        sample: which of several samples of the same question this is.
        principles: all principles of a joint request, in the order asked; empty where `principle` is asked alone.
        shared: how many leading characters of the last message all requests about this pair in this order have in common.
    """

    prompt: Prompt
    first: str
    second: str
    principle: Principle
    messages: tuple[Message, ...] = ()
    max_tokens: int = 1
    temperature: float | None = None
    top_logprobs: int = 0
    schema: Mapping[str, object] | None = None
    sample: int = 0
    principles: tuple[Principle, ...] = ()
    shared: int = 0


@dataclass(frozen=True)
class Usage:
    """Tokens of one request.

    Attributes:
        input: all that was read, cached and written ones among them.
        cached: those that came from a cache.
        output: all that was written, hidden reasoning too.
        written: those that were put into a cache at a price of its own.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    written: int = 0


@dataclass(frozen=True)
class Answer:
    """What a provider says.

    Attributes:
        text: the answer.
        finish: why it ended; not_applicable comes only from providers that read pairs.
        top_logprobs: per position: token -> natural log-probability.
        p_first: P(first is what the question asks for), before `picks`; only from providers that read pairs.
        model: which model answered, as the server says.
        usage: tokens.
        tokens: the tokens drawn, one per position; needed where a verdict follows a rationale.
    """

    text: str = ""
    finish: Literal["stop", "length", "refused", "filtered", "not_applicable"] = "stop"
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    p_first: float | None = None
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capabilities:
    """What a provider's model can do.

    Attributes:
        reads: pair: it wants the responses, not rendered messages.
        max_top_logprobs: the most log-probabilities that it gives at a position; 0: none.
        structured: it can be held to a JSON schema.
        temperature: it takes one.
        max_batch: requests that ``ask_many`` takes at once.
        generates: False: it gives the next token's log-probabilities and writes no text.
        thinking_tokens: tokens that it may write before its answer, hidden from us; the core adds them to
            `Request.max_tokens`.
    """

    reads: Literal["messages", "pair"] = "messages"
    max_top_logprobs: int = 0
    structured: bool = False
    temperature: bool = True
    max_batch: int = 1
    generates: bool = True
    thinking_tokens: int = 0
