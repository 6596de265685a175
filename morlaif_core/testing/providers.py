"""What a feedback provider must do: `check_feedback_provider`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from morlaif_core.plugins.components import Component
from morlaif_core.plugins.protocols import FeedbackProvider
from morlaif_core.types import Answer, Capabilities, Message, Principle, Prompt, Request, make_prompt

from .answers import check_answer, requests_for
from .batches import BATCHES, check_batches
from .components import check_component, require

CONCISENESS = Principle("conciseness", "Which response says it in fewer words?")
QUESTION = make_prompt([Message("user", "What is the capital of France?")])
RESPONSES = ("Paris.", "The capital of France, a country in Europe, is the city of Paris, which lies on the Seine.")


def check_feedback_provider(
    component: Component[FeedbackProvider],
    options: Mapping[str, object] | None = None,
    *,
    principle: Principle = CONCISENESS,
    prompt: Prompt = QUESTION,
    responses: tuple[str, str] = RESPONSES,
    ask: bool | None = None,
    batches: bool = False,
) -> None:
    """Check a feedback provider against the contract.

    Its identity is a text that does not change, its capabilities are possible ones, it offers `ask` or `ask_many`, all
    of `Batches` or nothing of it. Where it is asked, it is asked in every way that its capabilities allow (for a
    probability, one token, a rationale, JSON by a schema, a letter), in both orders, and answers each request with one
    `Answer` that fits; one that reads pairs answers the same again.

    Args:
        component: what the plugin's hook returned.
        options: options other than the defaults.
        principle, prompt, responses: what it is asked.
        ask: False asks nothing; None asks those that read pairs only, since others may need a network and cost money.
        batches: hand in a batch as well, and wait for it; at a real API this may take hours.

    Raises:
        ContractError: what does not hold.
    """
    check_component("feedback_provider", component)
    chosen = component.options.model_validate(dict(options or {}))
    if component.bills is not None:
        billed = component.bills(chosen)
        require(isinstance(billed, str) and bool(billed), f"{component.name}: bills as {billed!r}")
    reason = component.refuses(chosen, principle) if component.refuses is not None else None
    asked = Request(prompt, *responses, principle)
    asyncio.run(_check(component, chosen, asked, ask, batches, reason))


async def _check(
    component: Component[FeedbackProvider],
    options: Any,
    asked: Request,
    ask: bool | None,
    batches: bool,
    reason: str | None,
) -> None:
    provider, name = component.build(options), component.name
    try:
        identity, can = provider.identity, provider.capabilities
        require(isinstance(identity, str) and bool(identity), f"{name}: identity is {identity!r}")
        require(component.build(options).identity == identity, f"{name}: built again, its identity is another")
        foreseen = None if component.capabilities is None else component.capabilities(options)
        require(foreseen in (None, can), f"{name}: built, its capabilities are {can!r}, not {foreseen!r}")
        _check_offers(name, provider)
        if ask is False or (ask is None and can.reads != "pair"):
            return
        require(reason is None, f"{name} cannot measure the principle it is checked with: {reason}")
        for mode, requests in requests_for(asked, can):
            answers = await _answers(provider, requests)
            for request, answer in zip(requests, answers, strict=True):
                check_answer(name, mode, request, answer, can)
            if can.reads == "pair":
                again = await _answers(provider, requests)
                require(again == answers, f"{name}: asked again, it answers differently")
            if batches:
                await check_batches(name, provider, mode, requests)
    finally:
        close = getattr(provider, "aclose", None)
        if close is not None:
            await close()


def _check_offers(name: str, provider: FeedbackProvider) -> None:
    """Check capabilities, and that the methods they need are there."""
    can = provider.capabilities
    least = isinstance(can, Capabilities) and min(can.max_top_logprobs, can.thinking_tokens, can.max_batch - 1)
    require(isinstance(can, Capabilities) and least >= 0, f"{name}: capabilities are {can!r}")
    require(can.reads in ("messages", "pair"), f"{name}: it reads {can.reads!r}")
    useful = can.reads == "pair" or can.generates or can.max_top_logprobs > 0
    require(useful, f"{name}: it neither writes text nor gives log-probabilities")
    require(can.generates or not can.structured, f"{name}: it writes no text, so no JSON either")
    offered = [method for method in ("ask", "ask_many") if callable(getattr(provider, method, None))]
    require(bool(offered), f"{name}: it offers neither ask nor ask_many")
    require("ask_many" in offered or can.max_batch == 1, f"{name}: max_batch {can.max_batch} needs ask_many")
    missing = [method for method in BATCHES if not hasattr(provider, method)]
    require(len(missing) in (0, len(BATCHES)), f"{name}: of Batches, {', '.join(missing)} is missing")


async def _answers(provider: FeedbackProvider, requests: Sequence[Request]) -> list[Answer]:
    many = getattr(provider, "ask_many", None)
    if many is None:
        return [await provider.ask(request) for request in requests]
    size = provider.capabilities.max_batch
    chunks = [many(requests[start : start + size]) for start in range(0, len(requests), size)]
    answers = [answer for chunk in chunks for answer in chunk]
    require(len(answers) == len(requests), f"{len(requests)} requests got {len(answers)} answers")
    return answers
