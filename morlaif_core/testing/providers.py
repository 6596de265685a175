"""What a feedback provider must do: `check_feedback_provider`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from morlaif_core.options import Component
from morlaif_core.protocols import FeedbackProvider
from morlaif_core.types import Answer, Capabilities, Message, Principle, Prompt, Request, make_prompt

from .components import check_component, require

CONCISENESS = Principle("conciseness", "Which response says it in fewer words?")
QUESTION = make_prompt([Message("user", "What is the capital of France?")])
RESPONSES = ("Paris.", "The capital of France, a country in Europe, is the city of Paris, which lies on the Seine.")
TEXT = "Conversation:\nHuman: {question}\n\nA: {first}\n\nB: {second}\n\n{principle} Answer A or B."


def check_feedback_provider(
    component: Component[FeedbackProvider],
    options: Mapping[str, object] | None = None,
    *,
    principle: Principle = CONCISENESS,
    prompt: Prompt = QUESTION,
    responses: tuple[str, str] = RESPONSES,
    ask: bool | None = None,
) -> None:
    """Check a feedback provider against the contract.

    Its identity is a text that does not change, its capabilities are possible ones, it offers `ask` or `ask_many`, and,
    where it is asked, it answers each request with one `Answer` that fits its capabilities, the same one again where it
    reads pairs.

    Args:
        component: what the plugin's hook returned.
        options: options other than the defaults.
        principle, prompt, responses: what it is asked.
        ask: False asks nothing; None asks those that read pairs only, since others may need a network and cost money.

    Raises:
        ContractError: what does not hold.
    """
    check_component("feedback_provider", component)
    chosen = component.options.model_validate(dict(options or {}))
    reason = component.refuses(chosen, principle) if component.refuses is not None else None
    asked = Request(prompt, *responses, principle)
    asyncio.run(_check(component, chosen, [asked, replace(asked, first=asked.second, second=asked.first)], ask, reason))


async def _check(
    component: Component[FeedbackProvider], options: Any, requests: list[Request], ask: bool | None, reason: str | None
) -> None:
    provider, name = component.build(options), component.name
    try:
        identity, can = provider.identity, provider.capabilities
        require(isinstance(identity, str) and bool(identity), f"{name}: identity is {identity!r}")
        require(component.build(options).identity == identity, f"{name}: built again, its identity is another")
        require(isinstance(can, Capabilities) and can.max_batch >= 1, f"{name}: capabilities are {can!r}")
        require(can.reads in ("messages", "pair") and can.max_top_logprobs >= 0, f"{name}: capabilities are {can!r}")
        offered = [method for method in ("ask", "ask_many") if callable(getattr(provider, method, None))]
        require(bool(offered), f"{name}: it offers neither ask nor ask_many")
        require("ask_many" in offered or can.max_batch == 1, f"{name}: max_batch {can.max_batch} needs ask_many")
        if ask is False or (ask is None and can.reads != "pair"):
            return
        require(reason is None, f"{name} cannot measure the principle it is checked with: {reason}")
        requests = requests if can.reads == "pair" else [_with_messages(request, can) for request in requests]
        answers = await _answers(provider, requests)
        for answer in answers:
            _check_answer(name, answer, can)
        if can.reads == "pair":
            require(await _answers(provider, requests) == answers, f"{name}: asked again, it answers differently")
    finally:
        close = getattr(provider, "aclose", None)
        if close is not None:
            await close()


async def _answers(provider: FeedbackProvider, requests: Sequence[Request]) -> list[Answer]:
    many = getattr(provider, "ask_many", None)
    if many is None:
        return [await provider.ask(request) for request in requests]
    size = provider.capabilities.max_batch
    batches = [many(requests[start : start + size]) for start in range(0, len(requests), size)]
    answers = [answer for batch in batches for answer in batch]
    require(len(answers) == len(requests), f"{len(requests)} requests got {len(answers)} answers")
    return answers


def _check_answer(name: str, answer: object, can: Capabilities) -> None:
    require(isinstance(answer, Answer), f"{name}: it answered {type(answer).__name__}, not an Answer")
    assert isinstance(answer, Answer)
    if can.reads == "pair" and answer.finish == "stop":
        p = answer.p_first
        require(p is not None and 0 <= p <= 1, f"{name}: reads pairs, but p_first is {p}")
    require(can.reads == "pair" or answer.p_first is None, f"{name}: reads messages, but says p_first itself")
    require(min(answer.usage.input, answer.usage.cached, answer.usage.output) >= 0, f"{name}: usage is {answer.usage}")


def _with_messages(request: Request, can: Capabilities) -> Request:
    text = TEXT.format(
        question=request.prompt.messages[-1].content,
        first=request.first,
        second=request.second,
        principle=request.principle.question,
    )
    return replace(request, messages=(Message("user", text),), top_logprobs=min(5, can.max_top_logprobs))
