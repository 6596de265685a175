"""The two API judges, what they are asked, and the key that must not show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import morlaif_anthropic
import morlaif_openai
from morlaif_core import (
    Answer,
    Component,
    Message,
    Principle,
    ProviderError,
    Request,
    make_pair,
    make_prompt,
)
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.requests import asking_of, build_request, request_key
from morlaif_core.testing import FaultServer

CANARY = "canary-5f3a9c1e7b02"
DETAIL = Principle("detail", "Which response is more detailed?")
PAIR = make_pair(make_prompt([Message("user", "How are you?")]), "Well 1.0", "Fine, thank you 0.5")


@dataclass(frozen=True)
class API:
    """One of the two: its component, the address that its SDK wants, and the variables that would lead it astray."""

    offer: Component[Any]
    address: Callable[[FaultServer], str]
    variable: str
    base_url: str

    def build(self, url: str, **options: Any) -> Any:
        given = {"model": "m", "base_url": url, "timeout": 10} | options
        return self.offer.build(self.offer.options.model_validate(given))


APIS = {
    "openai": API(
        morlaif_openai.morlaif_feedback_providers()[0],
        lambda server: server.url,
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    ),
    "anthropic": API(
        morlaif_anthropic.morlaif_feedback_providers()[0],
        lambda server: server.anthropic_url,
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
    ),
}


def requests_of(provider: Any, mode: str = "auto", n: int = 1) -> list[Request]:
    asking = asking_of(provider.capabilities, Judging.model_validate({"mode": mode}))
    pairs = [make_pair(PAIR.prompt, f"{PAIR.a} {i}", PAIR.b) for i in range(n)]
    return [build_request(pair, [DETAIL], "ab", asking) for pair in pairs]


def ask(provider: Any, request: Request | None = None) -> Answer | ProviderError:
    async def once() -> Answer | ProviderError:
        try:
            return await provider.ask(request or requests_of(provider)[0])  # type: ignore[no-any-return]
        except ProviderError as error:
            return error
        finally:
            await provider.aclose()

    return asyncio.run(once())


def batch(provider: Any, n: int) -> tuple[dict[str, Request], Mapping[str, Answer | ProviderError]]:
    """Hand in n requests and wait for what comes of them."""
    requests = {request_key(provider.identity, request): request for request in requests_of(provider, n=n)}

    async def through() -> Mapping[str, Answer | ProviderError]:
        try:
            made = await provider.submit(requests, name="run-1")
            while (results := await provider.fetch(made)) is None:
                await asyncio.sleep(0.02)
            return results  # type: ignore[no-any-return]
        finally:
            await provider.aclose()

    return requests, asyncio.run(through())
