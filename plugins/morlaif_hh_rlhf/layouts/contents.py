"""Text and messages: roles of OpenAI and ShareGPT, contents as text or as lists of text parts, prompts and responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from morlaif_core import Message, Prompt, UserError, make_prompt

from ..hh import ASSISTANT, hh_messages
from ..rows import Bad, Skip

Value: TypeAlias = str | list[Message]
HUMAN = "\n\nHuman:"
_KEYS = (("role", "content"), ("from", "value"))
_ROLES: dict[object, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


def typed(value: object, place: str) -> Value:
    """Check that a value is text, a message or a list of messages. Raises UserError, naming the place; Skip for null."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and _keys(value):
        value = [value]
    if value is None:
        raise Bad("a prompt or response that is null")
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise UserError(
            f"{place} is {type(value).__name__}; expected is text or a list of messages with role and content"
        )
    return [_message(item, place) for item in value]


def _keys(item: Mapping[str, object]) -> tuple[str, str] | None:
    return next((keys for keys in _KEYS if set(keys) <= set(item)), None)


def _message(item: object, place: str) -> Message:
    keys = _keys(item) if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or keys is None:
        raise UserError(
            f"{place} holds an entry that is not a message; a message is {{role: …, content: …}} or {{from: …, value: …}}"
        )
    role, content = (item[key] for key in keys)
    if not isinstance(role, str) or role not in _ROLES:
        raise Skip("a role other than system, user, assistant")
    return Message(_ROLES[role], _text(content).strip())


def _text(content: object) -> str:
    """Join text parts by line breaks. Raises Skip for a part that is not text."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in _listed(content)]
    texts = [part for part in parts if isinstance(part, str)]
    if not texts or len(texts) < len(parts):
        raise Skip("a message that is not text")
    return "\n".join(texts)


def _listed(content: object) -> Sequence[object]:
    return content if isinstance(content, Sequence) and not isinstance(content, bytes) else ()


def is_whole(value: Value) -> bool:
    """Say whether a value is a conversation from its beginning, not only a response."""
    return isinstance(value, list) and bool(value) and value[0].role != "assistant"


def prompt_of(value: Value) -> Prompt:
    """Make a prompt of text or messages. Raises Skip where it is empty or does not end with the user's turn."""
    if isinstance(value, str):
        # A prompt may end with the head that its response followed.
        text = value.rstrip().removesuffix(ASSISTANT.strip())
        value = hh_messages(text) if value.startswith(HUMAN) else [Message("user", value.strip())]
    if not value or not value[-1].content:
        raise Bad("empty prompt")
    if value[-1].role != "user":
        raise Skip("prompt does not end with the user's turn")
    return make_prompt(value)


def response_of(value: Value) -> str:
    """Return the text of a response. Raises Skip where it is empty or is not one message of the assistant."""
    if isinstance(value, list):
        if len(value) > 1:
            raise Skip("response of several messages")
        if value and value[0].role != "assistant":
            raise Skip("response is not the assistant's")
        value = value[0].content if value else ""
    if not value.strip():
        raise Bad("empty response")
    return value.strip()


def split_last(first: list[Message], second: list[Message]) -> tuple[Prompt, str, str]:
    """Return prompt and responses of two conversations that differ in their last message only. Raises Skip."""
    if first[:-1] != second[:-1]:
        raise Skip("prompts differ")
    return prompt_of(first[:-1]), response_of(first[-1:]), response_of(second[-1:])
