"""What a provider is asked when it is checked, in each way that it can be asked, and what an answer must be like."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import UserError
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.feedback.types import Mode
from morlaif_core.types import Answer, Capabilities, Request, make_pair

from .components import require

_MODES = ("logprob", "rationale", "structured", "text")


def requests_for(asked: Request, can: Capabilities) -> Iterator[tuple[Mode, Sequence[Request]]]:
    """Yield each mode in which a provider can be asked, with the request in both orders, as the core sends it."""
    pair = make_pair(asked.prompt, asked.first, asked.second)
    for mode in ("auto",) if can.reads == "pair" else _MODES:
        try:
            asking = asking_of(can, Judging.model_validate({"mode": mode}))
        except UserError:
            continue
        yield asking.mode, [build_request(pair, [asked.principle], order, asking) for order in ("ab", "ba")]


def check_answer(name: str, mode: Mode, request: Request, answer: object, can: Capabilities) -> None:
    """Check one answer. Raises `ContractError`."""
    require(isinstance(answer, Answer), f"{name}: it answered {type(answer).__name__}, not an Answer")
    assert isinstance(answer, Answer)
    usage = answer.usage
    require(min(usage.input, usage.output) >= 0, f"{name}: usage is {usage}")
    require(0 <= usage.cached + usage.written <= usage.input, f"{name}: of its input, too much is cached: {usage}")
    require(can.reads == "pair" or answer.p_first is None, f"{name}: reads messages, but says p_first itself")
    if answer.finish not in ("stop", "length"):
        return
    if can.reads == "pair":
        p = answer.p_first
        require(p is not None and 0 <= p <= 1, f"{name}: reads pairs, but p_first is {p}")
    if request.top_logprobs:
        _check_logprobs(name, mode, answer)
    if request.schema is not None and answer.finish == "stop":
        _check_schema(name, request.schema, answer.text)
    if can.generates and can.reads == "messages" and answer.finish == "stop":
        require(bool(answer.text), f"{name}: it writes text, but in {mode} mode there is none")


def _check_logprobs(name: str, mode: Mode, answer: Answer) -> None:
    top = answer.top_logprobs
    require(bool(top) and bool(top[0]), f"{name}: asked for log-probabilities, it gave none")
    values = [value for position in top for value in position.values()]
    possible = all(math.isfinite(value) and value <= 1e-3 for value in values)
    require(possible, f"{name}: log-probabilities reach from {min(values)} to {max(values)}")
    if mode == "rationale":
        drawn = len(answer.tokens)
        require(
            drawn == len(top), f"{name}: a verdict after a rationale needs the {len(top)} tokens drawn, not {drawn}"
        )


def _check_schema(name: str, schema: Mapping[str, Any], text: str) -> None:
    """Check that a text is the object that the core's own schemas want: properties, all there, from lists of choices."""
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    require(isinstance(said, dict), f"{name}: asked for JSON by a schema, it wrote {text[:80]!r}")
    wanted: Mapping[str, Any] = schema["properties"]
    require(said.keys() == wanted.keys(), f"{name}: of the schema's {list(wanted)}, it wrote {list(said)}")
    for key, rule in wanted.items():
        allowed = said[key] in rule.get("enum", [said[key]])
        require(allowed, f"{name}: {key} is {said[key]!r}, which the schema does not allow")
