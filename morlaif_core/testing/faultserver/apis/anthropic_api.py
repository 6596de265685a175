"""Anthropic messages, as the SDK reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from morlaif_core.testing.faultserver.simulated.asking import Ask, Said, Tokens, rendered
from morlaif_core.testing.faultserver.simulated.faults import Fault

from .openai_api import text_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_STOPS = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}


class AnthropicDialect:
    """Reads and writes messages: text, JSON schema by ``output_config.format`` or by a tool that must be called.

    As at Anthropic, a prompt is cached only up to the last block marked ``cache_control`` (all of it where the request
    itself is marked).
    """

    def read(self, body: Mapping[str, Any]) -> Ask:
        """Read a request."""
        system = body.get("system") or []
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        messages += body["messages"]
        turns = tuple((turn["role"], text_of(turn["content"])) for turn in messages)
        style = (body.get("output_config") or {}).get("format") or {}
        tool = _forced(body)
        return Ask(
            model=str(body["model"]),
            turns=turns,
            max_tokens=int(body["max_tokens"]),
            prefix=rendered(turns) if body.get("cache_control") else _marked(messages),
            sampled=body.get("temperature") != 0,
            schema=tool["input_schema"] if tool else style["schema"] if style.get("type") == "json_schema" else None,
            tool=tool["name"] if tool else None,
        )

    def write(self, ask: Ask, said: list[Said], model: str, tokens: Tokens | None, number: int) -> dict[str, Any]:
        """Return a message."""
        one = said[0]
        content: list[dict[str, Any]] = [{"type": "text", "text": one.text}] if one.text else []
        stop = _STOPS[one.finish]
        if ask.tool is not None and one.finish in ("stop", "length"):
            content = [{"type": "tool_use", "id": f"toolu_{number}", "name": ask.tool, "input": one.filled or {}}]
            stop = "tool_use" if one.finish == "stop" else stop
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": None if tokens is None else _usage(tokens),
        }

    def without_choices(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take the content out."""
        return body | {"content": []}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        """Return an error; this API names no codes."""
        return {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}

    def adapt(self, fault: Fault) -> Fault:
        """Return the 402 of an account without credit, and the 400 of the output filter."""
        if fault.kind == "quota_429":
            return replace(fault, status=402, message="Your credit balance is too low to access the Anthropic API")
        if fault.change == "content_filter":
            return replace(fault, status=400, change="", message="Output blocked by content filtering policy")
        return fault


def _forced(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choice = body.get("tool_choice") or {}
    if choice.get("type") != "tool":
        return None
    return next(tool for tool in body["tools"] if tool["name"] == choice["name"])  # type: ignore[no-any-return]


def _marked(messages: list[dict[str, Any]]) -> str:
    """Return the prompt's text up to the last marked block."""
    prefix, marked = "", ""
    for turn in messages:
        prefix += turn["role"] + "\n"
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"text": turn["content"]}]
        for block in blocks:
            prefix += block["text"]
            if block.get("cache_control"):
                marked = prefix
        prefix += "\n"
    return marked


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation_input_tokens": tokens.written,
        "output_tokens": tokens.output,
    }
