"""What the tests of the fault server share: judges' prompts, and both SDKs without retries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic
import openai

from morlaif_core.feedback.asking.prompt import render
from morlaif_core.feedback.asking.schemas import joint_schema, verdict_schema
from morlaif_core.feedback.asking.wordings import Wording
from morlaif_core.feedback.types import Mode
from morlaif_core.testing.faultserver import FaultServer
from morlaif_core.types import Message, make_prompt

PROMPT = make_prompt([Message("user", "How do I bake bread?")])
QUESTION = "Which response is more helpful?"
KEY = "sk-canary-77aa01"


def turns(
    first: str = "With yeast.",
    second: str = "No.",
    questions: Sequence[str] = (QUESTION,),
    mode: Mode = "logprob",
    abstain: bool = False,
) -> list[dict[str, Any]]:
    """Return a judge's prompt as system and user turn."""
    asked = [Wording(question) for question in questions]
    return [{"role": t.role, "content": t.content} for t in render(PROMPT, first, second, asked, mode, abstain)]


def schema_of(mode: Mode, n: int = 1, abstain: bool = False) -> dict[str, Any]:
    """Return the schema that the core asks for."""
    return dict(joint_schema(n, abstain) if mode == "joint" else verdict_schema(abstain))


def chat_body(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a request for one token with its log-probabilities, or what `more` says."""
    one_token = {"logprobs": True, "top_logprobs": 20, "max_completion_tokens": 1, "temperature": 0}
    return {"model": "m", "messages": messages, **one_token, **more}


def text_body(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a request for text."""
    return {"model": "m", "messages": messages, "max_completion_tokens": 256, **more}


def message_body(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a request to Anthropic's API."""
    return {"model": "m", "max_tokens": 256, "system": messages[0]["content"], "messages": messages[1:], **more}


def openai_of(server: FaultServer, timeout: float = 5.0, retries: int = 0) -> openai.OpenAI:
    """Return OpenAI's SDK at a server."""
    # Without certificates, which loopback has no use for and which take longer to load than a test.
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(api_key=KEY, base_url=server.url, max_retries=retries, timeout=timeout, http_client=http)


def anthropic_of(server: FaultServer, timeout: float = 5.0, retries: int = 0) -> anthropic.Anthropic:
    """Return Anthropic's SDK at a server."""
    http, url = anthropic.DefaultHttpxClient(verify=False), server.anthropic_url
    return anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=retries, timeout=timeout, http_client=http)


def ask(server: FaultServer, api: str, timeout: float = 5.0, **more: Any) -> Any:
    """Ask for one letter through an SDK."""
    if api == "openai":
        return openai_of(server, timeout).chat.completions.create(**chat_body(turns(), **more))
    return anthropic_of(server, timeout).messages.create(**message_body(turns(), **more))
