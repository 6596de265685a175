"""`check_feedback_provider` accepts a provider that does all that one can, and names each thing that one does wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from morlaif_core import Answer, Capabilities, Component, NoOptions, ProviderError, Request, Usage, component
from morlaif_core.testing import ContractError, check_feedback_provider

ABLE = Capabilities(max_top_logprobs=5, structured=True)
SAID = {"rationale": "It is shorter.", "verdict": "A", "confidence": 0.9}
TOP = {"A": -0.1, "B": -2.4}


def answer(request: Request) -> Answer:
    """What a good provider says in each way of being asked."""
    usage = Usage(input=100, cached=60, output=5, written=40)
    if request.schema is not None:
        return Answer(text=json.dumps(SAID), usage=usage)
    if request.top_logprobs and request.max_tokens > 1:
        return Answer(text="So A", tokens=("So", " A"), top_logprobs=({"So": 0.0}, TOP), usage=usage)
    return Answer(text="A", top_logprobs=(TOP,) if request.top_logprobs else (), usage=usage)


class Provider:
    """Answers at once, and keeps its batches in memory."""

    identity, capabilities, max_batch_requests = "provider-1", ABLE, 10

    def __init__(self, say: Callable[[Request], Any] = answer) -> None:
        self.say, self.batches = say, dict[str, Mapping[str, Request]]()

    async def ask(self, request: Request) -> Any:
        return self.say(request)

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        self.batches[name] = requests
        return f"id-{name}"

    async def find(self, name: str) -> str | None:
        return f"id-{name}" if name in self.batches else None

    async def fetch(self, batch: str) -> Mapping[str, Any] | None:
        requests = self.batches[batch.removeprefix("id-")]
        return {key: self.say(request) for key, request in requests.items()}


def check(provider: Any, *, batches: bool = False, bills: Callable[[Any], str] | None = None) -> None:
    offered: Component[Any] = component("it", lambda _: provider, NoOptions, "a provider", bills=bills)
    check_feedback_provider(offered, ask=True, batches=batches)


def test_a_provider_that_does_all_there_is_passes() -> None:
    check(Provider(), batches=True, bills=lambda _: "model")


def when(condition: Callable[[Request], object], **changes: Any) -> Callable[[Request], Answer]:
    return lambda request: replace(answer(request), **changes) if condition(request) else answer(request)


def by_schema(request: Request) -> object:
    return request.schema


def by_tokens(request: Request) -> object:
    return request.top_logprobs


MISTAKES: list[tuple[Callable[[Request], Any], str]] = [
    (when(by_tokens, top_logprobs=()), "gave none"),
    (when(by_tokens, top_logprobs=({"A": math.nan},)), "reach from nan"),
    (when(by_tokens, top_logprobs=({"A": 0.7},)), "reach from 0.7"),
    (when(by_tokens, tokens=()), "needs the 2 tokens drawn, not 0"),
    (when(by_schema, text="A is better."), "wrote 'A is better.'"),
    (when(by_schema, text='["A"]'), "asked for JSON"),
    (when(by_schema, text='{"verdict": "A"}'), "it wrote .'verdict'."),
    (when(by_schema, text=json.dumps(SAID | {"verdict": "first"})), "verdict is 'first'"),
    (when(lambda request: request.max_tokens == 8, text=""), "in text mode there is none"),
    (when(bool, usage=Usage(input=-1)), "usage"),
    (when(bool, usage=Usage(input=5, cached=6)), "too much is cached"),
    (when(bool, p_first=0.5), "says p_first itself"),
    (lambda request: "A", "not an Answer"),
]


@pytest.mark.parametrize(("say", "match"), MISTAKES)
def test_wrong_answers_are_named(say: Callable[[Request], Any], match: str) -> None:
    with pytest.raises(ContractError, match=match):
        check(Provider(say))


def test_what_was_not_finished_need_not_fit() -> None:
    check(Provider(when(by_schema, text='{"ration', finish="length")))
    check(Provider(lambda request: Answer(finish="refused")))
    check(Provider(lambda request: Answer(finish="filtered")), batches=True)


@pytest.mark.parametrize(
    ("can", "match"),
    [
        (Capabilities(generates=False), "neither writes text"),
        (Capabilities(generates=False, max_top_logprobs=1, structured=True), "writes no text"),
        (Capabilities(thinking_tokens=-1), "capabilities"),
        (Capabilities(max_top_logprobs=-1), "capabilities"),
        (Capabilities(max_batch=0), "capabilities"),
        (Capabilities(max_batch=2), "needs ask_many"),
        (Capabilities(reads="texts"), "it reads 'texts'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_capabilities_are_named(can: Capabilities, match: str) -> None:
    provider = Provider()
    provider.capabilities = can  # type: ignore[misc]
    with pytest.raises(ContractError, match=match):
        check(provider)


def test_one_that_only_gives_the_next_token_is_asked_for_nothing_else() -> None:
    asked: list[Request] = []
    provider = Provider(lambda request: asked.append(request) or Answer(top_logprobs=(TOP,)))
    provider.capabilities = Capabilities(max_top_logprobs=5, generates=False)  # type: ignore[misc]
    check(provider)
    assert [(request.max_tokens, request.schema) for request in asked] == [(1, None)] * 2


def test_half_a_batch_api_is_named() -> None:
    class Half:
        identity, capabilities = "half-1", ABLE

        async def ask(self, request: Request) -> Answer:
            return answer(request)

        async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
            return "x"

    with pytest.raises(ContractError, match="max_batch_requests, find, fetch is missing"):
        check(Half())


async def _named_anyhow(name: str) -> str:
    return "id-x"


async def _strangers(batch: str) -> Mapping[str, Any]:
    return {"stranger": Answer(text="A")}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"find": _named_anyhow}, "is found as id-x"),
        ({"fetch": _strangers}, "never handed in"),
        ({"max_batch_requests": 0}, "max_batch_requests is 0"),
    ],
)
def test_wrong_batches_are_named(change: dict[str, Any], match: str) -> None:
    provider = Provider()
    vars(provider).update(change)
    with pytest.raises(ContractError, match=match):
        check(provider, batches=True)


def test_entries_may_fail_or_be_missing() -> None:
    provider = Provider()

    async def failed(batch: str) -> Mapping[str, Any]:
        keys = provider.batches[batch.removeprefix("id-")]
        return dict.fromkeys(list(keys)[:1], ProviderError("expired", "transient"))

    vars(provider)["fetch"] = failed
    check(provider, batches=True)


def test_a_price_needs_a_name() -> None:
    with pytest.raises(ContractError, match="bills as ''"):
        check(Provider(), bills=lambda _: "")
