"""What a chat completion asks and says: requests to JSON, JSON to answers, for single calls and batches alike.

Leaves out: `n`, several choices of one request, because each sample is a request with a ledger row of its own; streaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from morlaif_core import Answer, ProviderError, Request, Usage, error_in_body, token_count

from .options import OpenAIOptions

_OUTSIDE = -9000.0  # the API writes -9999.0 for a token outside the top
_FINISH: dict[object, Literal["length", "filtered"]] = {"length": "length", "content_filter": "filtered"}


def chat_body(request: Request, options: OpenAIOptions) -> dict[str, Any]:
    """Return a request as the API wants it, all but `extra`."""
    body: dict[str, Any] = {
        "model": options.model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
        options.limit: request.max_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema is not None:
        schema = {"name": "verdict", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_completion(body: dict[str, Any]) -> Answer:
    """Read a completion. Raises `ProviderError` where it holds no answer, or an error in its place."""
    choices = body.get("choices")
    if not choices:
        raise ProviderError("no choices in the answer", "transient", billed=True)
    choice = choices[0]
    if choice.get("error"):  # a gateway's way to say that the model broke off
        raise error_in_body(choice, billed=True)
    message = choice["message"]
    refusal = message.get("refusal")
    tokens, tops = _positions(choice.get("logprobs"))
    return Answer(
        text=_text(message.get("content")) or _text(refusal),
        finish="refused" if refusal else _FINISH.get(choice.get("finish_reason"), "stop"),
        top_logprobs=tops,
        tokens=tokens,
        model=_text(body.get("model")),
        usage=_usage(body.get("usage") or {}),
    )


def _text(content: object) -> str:
    """A text, or a list of parts of which some are texts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _positions(logprobs: Any) -> tuple[tuple[str, ...], tuple[Mapping[str, float], ...]]:
    """Return the tokens drawn, and token -> log-probability for each position, the token drawn among them."""
    positions = (logprobs or {}).get("content") or ()
    tops = []
    for position in positions:
        top: dict[str, float] = {}
        # The token drawn first: it may be outside the top ones.
        for entry in (position, *(position.get("top_logprobs") or ())):
            token, value = str(entry["token"]), float(entry["logprob"])
            if _OUTSIDE < value < 1:  # neither outside nor NaN nor infinite
                top[token] = max(value, top.get(token, value))
        tops.append(top)
    return tuple(str(position["token"]) for position in positions), tuple(tops)


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        input=token_count(usage.get("prompt_tokens")),
        cached=token_count(details.get("cached_tokens")),
        output=token_count(usage.get("completion_tokens")),
        written=token_count(details.get("cache_write_tokens")),
    )
