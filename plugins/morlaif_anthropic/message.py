"""What the messages API asks and says: requests to JSON, JSON to answers, for single calls and batches alike."""

from __future__ import annotations

from typing import Any, Literal

import anthropic

from morlaif_core import Answer, ProviderError, Request, Usage, token_count

from .options import AnthropicOptions

_FINISH: dict[object, Literal["length", "refused"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


def message_body(request: Request, options: AnthropicOptions) -> dict[str, Any]:
    """Return what differs from request to request."""
    body: dict[str, Any] = {
        "model": options.model,
        "max_tokens": request.max_tokens,
        "messages": [
            {"role": turn.role, "content": turn.content} for turn in request.messages if turn.role != "system"
        ],
    }
    if options.cache and request.shared > 0:
        body["messages"][-1]["content"] = _marked(request)
    system = [turn.content for turn in request.messages if turn.role == "system"]
    if system:
        body["system"] = "\n\n".join(system)
    return body


def _marked(request: Request) -> list[dict[str, Any]]:
    """Return the last turn in two blocks, with a mark where the part ends that is worth keeping.

    Writing to the cache costs a quarter more than reading, reading from it a tenth. Parts below the model's least
    length (1,024 to 4,096 tokens) are not kept, and cost nothing more.
    """
    text = request.messages[-1].content
    shared, rest = text[: request.shared], text[request.shared :]
    return [
        {"type": "text", "text": shared, "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": rest},
    ]


def constants(request: Request, options: AnthropicOptions) -> dict[str, Any]:
    """Return the rest: whether the model thinks, the answer's form, and `extra`.

    Newer models think unless told otherwise, and what they think is paid for and counts towards the answer's limit.
    The schema's bounds that the API does not know go into descriptions (the SDK knows which).
    """
    # `extra` goes over what we set, as the user knows the model.
    more = {"thinking": {"type": "adaptive" if options.thinking_tokens else "disabled"}} | options.extra
    if request.schema is not None:
        form = {"type": "json_schema", "schema": anthropic.transform_schema(dict(request.schema))}
        # Merged, so that an output_config of the user's own keeps its other keys.
        more["output_config"] = {**more.get("output_config", {}), "format": form}
    return more


def read_message(body: dict[str, Any]) -> Answer:
    """Read a message. Thoughts are no part of the answer.

    Raises `ProviderError` where there is no answer, KeyError or TypeError where it is no message.
    """
    # A refusal or a cut answer may be empty; anything else without content is no answer.
    if not body["content"] and body.get("stop_reason") not in _FINISH:
        raise ProviderError("no content in the answer", "transient", billed=True)
    texts = [block["text"] for block in body["content"] if block["type"] == "text"]
    model = body.get("model")
    return Answer(
        text="".join(texts),
        finish=_FINISH.get(body.get("stop_reason"), "stop"),
        model=model if isinstance(model, str) else "",
        usage=_usage(body.get("usage") or {}),
    )


def _usage(usage: dict[str, Any]) -> Usage:
    """Anthropic counts what a cache supplied, and what was written to it, beside the input."""
    cached = token_count(usage.get("cache_read_input_tokens"))
    written = token_count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input=token_count(usage.get("input_tokens")) + written + cached,
        cached=cached,
        output=token_count(usage.get("output_tokens")),
        written=written,
    )
