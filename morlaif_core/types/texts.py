"""What is asked and answered: messages, prompts, responses, pairs of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from .hashes import content_hash

Split: TypeAlias = Literal["train", "test"]
"""The data set's own split."""
Role: TypeAlias = Literal["system", "user", "assistant"]
_CUT = ":cut-"
Labels: TypeAlias = Mapping[str, float | None]
"""P(a preferred) by principle."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks: system, user or assistant.
        content: what is said.
    """

    role: Role
    content: str


@dataclass(frozen=True)
class Prompt:
    """A conversation that ends with the user's turn. Made by `make_prompt`.

    Attributes:
        id: a hash of the messages.
        messages: the turns, first to last.
    """

    id: str
    messages: tuple[Message, ...]


PromptLike: TypeAlias = Prompt | str | Message | Mapping[str, Any] | Iterable[Message | Mapping[str, Any]]
"""What `make_prompt` makes a prompt of."""


class CutOff(str):
    """A response that was stopped at ``generation.max_new_tokens`` instead of ending. Who reads its text need not know."""

    # A str, so that it passes through every plugin that takes responses as text; see `response_key`.
    __slots__ = ()


def ended(response: str) -> bool:
    """Say whether a response ended by itself; one that nobody calls `CutOff` did.

    response: its text.

    >>> ended("All of it."), ended(CutOff("A part of"))
    (True, False)
    """
    return not isinstance(response, CutOff)


def response_key(response: str) -> tuple[str, bool]:
    """Return what tells a response from others: its text, and whether it ended, as judges and preference models see it.

    response: its text; a `CutOff` where it did not end.

    >>> response_key(CutOff("A part of")) == response_key("A part of")
    False
    """
    return str(response), ended(response)


@dataclass(frozen=True)
class ResponsePair:
    """Two responses to one prompt, each a `CutOff` where it did not end. Made by `make_pair`.

    Attributes:
        id: a hash of prompt and responses, and which of these were cut off.
        prompt: what they answer.
        a, b: the responses.
        human: P(a preferred) overall, in [0, 1]; None where the data set does not say.
        labels: the same by principle (see `Preference`).
    """

    id: str
    prompt: Prompt
    a: str
    b: str
    human: float | None = None
    labels: Labels | None = field(default=None, hash=False)

    @property
    def identical(self) -> bool:
        """Whether a is the same response as b: a tie that nobody is asked about."""
        return response_key(self.a) == response_key(self.b)


@dataclass(frozen=True)
class Preference:
    """A pair with a soft label.

    Attributes:
        prompt: what the responses answer.
        a, b: the responses.
        p_a: P(a is better), in [0, 1]; 0.5 is a tie.
        labels: a principle's own label, where the data set has one; None: this pair is not labelled under it. `p_a` is the
            label of the principles that are not there.
    """

    prompt: Prompt
    a: str
    b: str
    p_a: float
    labels: Labels | None = field(default=None, hash=False)


def make_prompt(messages: PromptLike) -> Prompt:
    """Build a `Prompt` with its id; wherever the API takes a prompt, it takes what this function does.

    Args:
        messages: the user's text; or messages, each a `Message` or ``{"role": …, "content": …}``, the last of them the
            user's; or one such message; or ``{"messages": [...]}``. A `Prompt` is returned as it is.

    Raises:
        ValueError: the last turn is not the user's, a role is unknown, or a message has no text.

    >>> make_prompt("Hi") == make_prompt([{"role": "user", "content": "Hi"}]) == make_prompt([Message("user", "Hi")])
    True
    """
    if isinstance(messages, Prompt):
        return messages
    if isinstance(messages, str):
        turns: tuple[Message, ...] = (Message("user", messages),)
    elif isinstance(messages, Mapping) and "messages" in messages:
        return make_prompt(messages["messages"])
    elif isinstance(messages, Message | Mapping):
        turns = (_message(messages),)
    else:
        turns = tuple(map(_message, messages))
    # Else a response would follow a response, and every chat template renders that in another way.
    if not turns or turns[-1].role != "user":
        raise ValueError("a prompt ends with the user's turn")
    return Prompt(content_hash("prompt", [(turn.role, turn.content) for turn in turns]), turns)


def _message(turn: Message | Mapping[str, Any]) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str):
        raise ValueError(f"a message is {{'role': …, 'content': text}} or a Message, not {turn!r:.200}")
    if turn.get("role") not in get_args(Role):
        raise ValueError(f"a message's role is one of {', '.join(get_args(Role))}, not {turn.get('role')!r}")
    return Message(cast("Role", turn["role"]), turn["content"])


def make_pair(
    prompt: PromptLike, a: str, b: str, human: float | None = None, labels: Labels | None = None
) -> ResponsePair:
    """Build a `ResponsePair` with its id, a hash of prompt and responses, and which of these were cut off.

    Args:
        prompt: what `make_prompt` takes.
        a, b: the responses, each a `CutOff` where it did not end.
        human: P(a preferred) overall, in [0, 1], where people have said.
        labels: the same by principle.

    >>> make_pair("How do I calm dogs?", "Speak softly.", "Shout.").b
    'Shout.'
    """
    prompt = make_prompt(prompt)
    texts = content_hash("pair", prompt.id, a, b)
    cut = "".join(side for side, text in (("a", a), ("b", b)) if not ended(text))
    return ResponsePair(f"{texts}{_CUT}{cut}" if cut else texts, prompt, a, b, human, labels)


def texts_id(pair: str) -> str:
    """Return a pair's id as if both responses had ended: all that is drawn for its texts is drawn by that."""
    # A judge that is not told what was cut off is then asked the same, and not paid again.
    return pair.partition(_CUT)[0]


def label_under(principle: str, overall: float | None, labels: Labels | None) -> float | None:
    """Return what people chose under a principle: its own label or, where the data set has none, the overall one."""
    # Written with - or _, as everywhere.
    canonical = principle.replace("-", "_")
    return next((label for name, label in (labels or {}).items() if name.replace("-", "_") == canonical), overall)


def distinct_pairs(pairs: Iterable[ResponsePair]) -> list[ResponsePair]:
    """Return the pairs whose responses differ, each once; equal responses are a tie without asking.

    pairs: in any order, which is kept.

    >>> pair, tie = make_pair("Hi", "Hello.", "No."), make_pair("Hi", "Hello.", "Hello.")
    >>> distinct_pairs([pair, tie, pair]) == [pair]
    True
    """
    return list({pair.id: pair for pair in pairs if not pair.identical}.values())
