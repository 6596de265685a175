"""OpenAI chat completions, as the SDK reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from morlaif_core.testing.faultserver.simulated.asking import Ask, Position, Said, Tokens, rendered
from morlaif_core.testing.faultserver.simulated.faults import Fault

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIDialect:
    """Reads and writes chat completions: text, JSON schema, log-probabilities, several choices."""

    def read(self, body: Mapping[str, Any]) -> Ask:
        """Read a request."""
        turns = tuple((turn["role"], text_of(turn["content"])) for turn in body["messages"])
        if not turns:
            raise ValueError("messages is empty")
        style = body.get("response_format") or {}
        return Ask(
            model=str(body["model"]),
            turns=turns,
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            prefix=rendered(turns),
            top=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
            sampled=body.get("temperature") != 0,
            seeded=body.get("seed") is not None,
            choices=int(body.get("n") or 1),
            schema=style["json_schema"]["schema"] if style.get("type") == "json_schema" else None,
        )

    def write(self, ask: Ask, said: list[Said], model: str, tokens: Tokens | None, number: int) -> dict[str, Any]:
        """Return a completion."""
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [_choice(index, one) for index, one in enumerate(said)],
            "usage": None if tokens is None else _usage(tokens),
        }

    def without_choices(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take the choices out."""
        return body | {"choices": []}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        """Return an error."""
        kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        kind = "insufficient_quota" if code == "insufficient_quota" else kind
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def adapt(self, fault: Fault) -> Fault:
        """Return the fault: all kinds are as this API has them."""
        return fault


def text_of(content: object) -> str:
    """Return the text of a turn: a string, or the texts of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("content is a string or a list of parts")
    return "".join(part["text"] for part in content)


def _choice(index: int, said: Said) -> dict[str, Any]:
    refused = said.finish == "refusal"
    message = {
        "role": "assistant",
        "content": None if refused else said.text,
        "refusal": said.text if refused else None,
    }
    logprobs = None
    if said.positions is not None:
        logprobs = {"content": [_position(position) for position in said.positions], "refusal": None}
    finish = "stop" if refused else said.finish
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": logprobs}


def _position(position: Position) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in position.top]
    return {"token": position.token, "logprob": position.logprob, "bytes": None, "top_logprobs": top}


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    }
