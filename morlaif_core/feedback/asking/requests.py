"""What is sent for a pair, a principle and an order, and the key under which its answer is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import UserError
from morlaif_core.feedback.types import HARD, MIN_LABEL_MASS, Mode
from morlaif_core.types import Capabilities, Principle, Request, ResponsePair, content_hash, texts_id

from .prompt import render, shared_text
from .schemas import joint_schema, verdict_schema
from .template import Template, read_template
from .wordings import wording_of

Order = Literal["ab", "ba"]
"""Which of a and b stands first."""
TEXT_TOKENS = 8  # a letter and its decoration; enough to see that a sentence is no letter
RATIONALE_TOKENS = 256  # two sentences, and what JSON or the last line adds
VERDICT_TOKENS = 16  # a numbered verdict in JSON, the longest indented

# These bytes are hashed to the ledger's keys: with one of them changed, every ledger is asked and paid anew.
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
    tell_cut_off: bool = True
    template: Template | None = None


def asking_of(capabilities: Capabilities, judging: Judging) -> Asking:
    """Choose how a judge is asked: what `judging` says, where it says auto what the model can do.

    Raises `UserError` where the model cannot do what is asked for.
    """
    mode = _mode_of(capabilities, judging)
    # The same log-probabilities twice would say nothing new.
    samples = judging.samples if mode in HARD else 1
    return Asking(
        mode,
        capabilities,
        samples,
        judging.few_shots,
        judging.abstain,
        judging.min_label_mass,
        judging.tell_cut_off,
        # Who reads pairs is given no words.
        template_of(judging) if mode != "pair" else None,
    )


def template_of(judging: Judging) -> Template | None:
    """Read the template that `judging` names. Raises `UserError` where it cannot be used."""
    template = None if judging.template is None else read_template(judging.template)
    if template is not None and judging.few_shots and not template.has_examples:
        raise UserError(
            f"judging.template: {judging.template} has no place for the examples that judging.few_shots asks for; "
            "put {examples} before {question}"
        )
    return template


def _mode_of(capabilities: Capabilities, judging: Judging) -> Mode:
    able = _able(capabilities)
    if judging.joint:
        return _joint(able, judging)
    if judging.mode == "auto":
        # A probability says more than a word, and a word in JSON is read more surely than one in prose.
        found = next((mode for mode in ("pair", "logprob", "structured", "text") if mode in able), None)
        if found is None:
            raise UserError("this model gives neither log-probabilities nor text; use another model as judge")
        return found
    if able == ("pair",):
        return "pair"  # a mode is of those who read words: one for the whole run must not refuse `rules` beside them
    if judging.mode not in able:
        choices = " or ".join(["auto", *able])
        raise UserError(f"judging.mode is {judging.mode}, which this model cannot do; set it to {choices}")
    return judging.mode


def _able(capabilities: Capabilities) -> tuple[Mode, ...]:
    """Return the modes in which a provider can be asked about one principle."""
    if capabilities.reads == "pair":
        return ("pair",)
    top, writes = capabilities.max_top_logprobs > 0, capabilities.generates
    can: dict[Mode, bool] = {
        "logprob": top,
        "rationale": top and writes,
        "structured": capabilities.structured and writes,
        "text": writes,
    }
    return tuple(mode for mode, able in can.items() if able)


def _joint(able: Sequence[Mode], judging: Judging) -> Mode:
    if "structured" not in able:
        raise UserError("judging.joint needs answers by a JSON schema, which this model does not give; set it to false")
    if judging.mode not in ("auto", "structured"):
        raise UserError(f"judging.joint asks in structured mode; set judging.mode ({judging.mode}) to auto")
    return "joint"


def orders_of(pair: str, principle: str, orders: Literal["both", "one_random"], seed: int) -> tuple[Order, ...]:
    """Return the orders in which a pair is asked. one_random: drawn from a hash of seed, pair and principle."""
    if orders == "both":
        return "ab", "ba"
    # A hash, not a generator: a pair's order must not depend on which others are asked.
    return ("ab",) if int(content_hash("order", seed, texts_id(pair), principle), 16) % 2 == 0 else ("ba",)


def in_order(pair: ResponsePair, order: Order, asking: Asking) -> tuple[str, str]:
    """Return the first and the second response; plain text for a judge that is not told what was cut off."""
    first, second = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
    return (first, second) if asking.tell_cut_off else (str(first), str(second))


def build_request(
    pair: ResponsePair, principles: Sequence[Principle], order: Order, asking: Asking, sample: int = 0
) -> Request:
    """Put a principle (several in a joint request, in the order given) to a pair in one order, as the provider reads it."""
    first, second = in_order(pair, order, asking)
    temperature = _temperature(asking)
    if asking.mode == "pair":
        return Request(pair.prompt, first, second, principles[0], temperature=temperature, sample=sample)
    wordings = [wording_of(principle, pair, asking.few_shots) for principle in principles]
    asked = [replace(p, question=w.question) for p, w in zip(principles, wordings, strict=True)]
    return Request(
        pair.prompt,
        first,
        second,
        asked[0],
        messages=render(pair.prompt, first, second, wordings, asking.mode, asking.abstain, asking.template),
        # APIs count hidden thoughts as output: without room for them the answer is cut off.
        max_tokens=_max_tokens(asking.mode, len(asked)) + asking.capabilities.thinking_tokens,
        temperature=temperature,
        # 20 is the most that APIs give.
        top_logprobs=min(20, asking.capabilities.max_top_logprobs) if asking.mode in ("logprob", "rationale") else 0,
        schema=_schema(asking, len(asked)),
        sample=sample,
        principles=tuple(asked) if asking.mode == "joint" else (),
        shared=len(shared_text(pair.prompt, first, second, asking.mode, asking.abstain, asking.template)),
    )


def _temperature(asking: Asking) -> float | None:
    """Return 0, but 1 where samples are to differ; None where the model takes none."""
    if not asking.capabilities.temperature:
        return None
    return 1.0 if asking.samples > 1 else 0.0


def _max_tokens(mode: Mode, n: int) -> int:
    if mode == "joint":
        return VERDICT_TOKENS * (n + 1)
    return {"logprob": 1, "text": TEXT_TOKENS}.get(mode, RATIONALE_TOKENS)


def _schema(asking: Asking, n: int) -> Mapping[str, object] | None:
    if asking.mode == "joint":
        return joint_schema(n, asking.abstain)
    return verdict_schema(asking.abstain) if asking.mode == "structured" else None


def request_key(identity: str, request: Request) -> str:
    """Return the sha256 of all that an answer depends on: see `canonical`."""
    return hashlib.sha256(canonical(identity, request).encode(errors="surrogatepass")).hexdigest()


def canonical(identity: str, request: Request) -> str:
    """Return as JSON all that an answer depends on: provider identity, what it reads, sampling, schema, sample.

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
    # 1: the version of this form.
    return _CANONICAL.encode([1, identity, read, how])


def row_key(request: str, principle: str) -> str:
    """Return the key of one principle's row of a joint request."""
    return hashlib.sha256((request + "\0" + principle).encode()).hexdigest()


class Work(NamedTuple):
    """One request to be made. rows: the ledger's key of each principle's row, the request's own key where it is one."""

    key: str
    rows: tuple[str, ...]
    pair: ResponsePair
    principles: tuple[Principle, ...]
    order: Order
    sample: int = 0
