"""What is sent for a pair, a principle and an order, and the key under which its answer is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from morlaif_core.settings import Judging
from morlaif_core.types import Capabilities, Principle, Request, ResponsePair, content_hash

from .prompt import render_question
from .verdict import HARD, MIN_LABEL_MASS, Mode

Order = Literal["ab", "ba"]
"""Which of a and b stands first."""
TEXT_TOKENS = 8  # a letter and its decoration; enough to see that a sentence is no letter

_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Asking:
    """How a judge is asked and read: settled when its provider is built, recorded with every row, never changed."""

    mode: Mode
    capabilities: Capabilities
    samples: int = 1
    few_shots: int = 0
    abstain: bool = False
    min_label_mass: float = MIN_LABEL_MASS


def asking_of(capabilities: Capabilities, judging: Judging) -> Asking:
    """Choose how a judge is asked: what `judging` says, where it says auto what the model can do."""
    mode = mode_of(capabilities)
    samples = judging.samples if mode in HARD else 1
    return Asking(mode, capabilities, samples, judging.few_shots, judging.abstain, judging.min_label_mass)


def mode_of(capabilities: Capabilities) -> Mode:
    """Choose how a provider's verdict is read; it never changes within a judge."""
    if capabilities.reads == "pair":
        return "pair"
    return "logprob" if capabilities.max_top_logprobs > 0 else "text"


def orders_of(pair: str, principle: str, orders: Literal["both", "one_random"], seed: int) -> tuple[Order, ...]:
    """Return the orders in which a pair is asked. one_random: drawn from a hash of seed, pair and principle."""
    if orders == "both":
        return "ab", "ba"
    return ("ab",) if int(content_hash("order", seed, pair, principle), 16) % 2 == 0 else ("ba",)


def worded(principle: Principle, pair: str) -> Principle:
    """Draw one of question and phrasings by a hash of pair and principle: the same in both orders and in every run."""
    if not principle.phrasings:
        return principle
    wordings = (principle.question, *principle.phrasings)
    drawn = wordings[int(content_hash("wording", pair, principle.name), 16) % len(wordings)]
    return replace(principle, question=drawn)


def build_request(
    pair: ResponsePair, principles: Sequence[Principle], order: Order, asking: Asking, sample: int = 0
) -> Request:
    """Put a principle (several in a joint request) to a pair in one order, in the form that the provider reads."""
    first, second = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
    (principle,) = principles
    temperature = 0.0 if asking.capabilities.temperature else None
    if asking.mode == "pair":
        return Request(pair.prompt, first, second, principle, temperature=temperature, sample=sample)
    asked = worded(principle, pair.id)
    return Request(
        pair.prompt,
        first,
        second,
        asked,
        messages=render_question(pair.prompt, first, second, asked.question),
        max_tokens=1 if asking.mode == "logprob" else TEXT_TOKENS,
        temperature=temperature,
        top_logprobs=min(20, asking.capabilities.max_top_logprobs),
        sample=sample,
    )


def request_key(identity: str, request: Request) -> str:
    """Return the sha256 of all that an answer depends on: provider identity, what it reads, sampling, schema, sample.

    A provider that reads messages sees neither the principle's name nor its direction; one that reads pairs sees the
    principle, whose examples are nobody's to judge by. Neither key, timeout, concurrency nor the order of rows count.
    """
    read: object
    if request.messages:
        read = [(turn.role, turn.content) for turn in request.messages]
    else:
        p = request.principle
        turns = [(turn.role, turn.content) for turn in request.prompt.messages]
        read = [turns, request.first, request.second, p.name, p.question, p.picks, p.phrasings]
    how = [request.max_tokens, request.temperature, request.top_logprobs, request.schema, request.sample]
    return hashlib.sha256(_CANONICAL.encode([1, identity, read, how]).encode()).hexdigest()
