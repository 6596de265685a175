"""The one place where a prompt becomes text, and where a scored response becomes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from morlaif_core.errors import UserError
from morlaif_core.types import Message, Prompt

Template = Literal["auto", "chat", "hh"]
Variables: TypeAlias = Mapping[str, Any] | None
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
THINK, THOUGHT = "<think>", "</think>"
"""Around the reasoning with which a response may begin."""


class Encoded(NamedTuple):
    """Token ids of prompt and response; ``ids[start:]`` is the response, its eos included."""

    ids: list[int]
    start: int


def hh_text(messages: tuple[Message, ...]) -> str:
    """Write a conversation in the form of HH-rlhf, turn by turn; a system turn stands first, bare."""
    heads = {"user": HUMAN + " ", "assistant": ASSISTANT + " ", "system": ""}
    return "".join(heads[turn.role] + turn.content for turn in messages)


def uses_chat(tokenizer: Any, template: Template) -> bool:
    """Say whether prompts are rendered by the tokenizer's chat template."""
    return template == "chat" or (template == "auto" and getattr(tokenizer, "chat_template", None) is not None)


def render(tokenizer: Any, prompt: Prompt, template: Template = "auto", kwargs: Variables = None) -> str:
    """Turn a prompt into the text that a response follows: chat template where there is one, else HH turns.

    kwargs: variables for the chat template. Where the template refuses a system turn or leaves it out (Gemma), its text
    is put before the next user turn's. Raises `UserError` where there is no such template or variable, or it refuses
    the conversation.
    """
    if not uses_chat(tokenizer, template):
        if kwargs:
            raise UserError("chat_template_kwargs: the model's tokenizer has no chat template; leave them out")
        return hh_text(prompt.messages) + ASSISTANT
    if tokenizer.chat_template is None:
        raise UserError("template: chat, but the model's tokenizer has no chat template; say template: hh")
    source = tokenizer.get_chat_template()
    if unknown := [name for name in kwargs or () if name not in source]:
        raise UserError(
            f"chat_template_kwargs: the chat template does not ask for {unknown[0]}; see its spelling there"
        )
    return _chat_text(tokenizer, prompt.messages, kwargs) or _folded_text(tokenizer, prompt.messages, kwargs)


def takes_system(tokenizer: Any, prompt: Prompt, template: Template = "auto", kwargs: Variables = None) -> bool:
    """Say whether a prompt is rendered with its system turns where they stand, if it has any."""
    return not uses_chat(tokenizer, template) or _chat_text(tokenizer, prompt.messages, kwargs) is not None


def _chat_text(tokenizer: Any, messages: tuple[Message, ...], kwargs: Variables) -> str | None:
    """Render by the chat template; None where it cannot do with a system turn."""
    from jinja2 import TemplateError

    system = [turn.content.strip() for turn in messages if turn.role == "system"]
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **(kwargs or {})))
    except TemplateError as error:
        if system:
            return None
        raise UserError(f"the chat template refuses a conversation ({error}); say target.template: hh") from error
    return text if all(content in text for content in system) else None


def _folded_text(tokenizer: Any, messages: tuple[Message, ...], kwargs: Variables) -> str:
    """Render with each system turn's text at the head of the user turn that comes next."""
    turns: list[Message] = []
    waiting: list[str] = []
    for turn in messages:
        if turn.role == "system":
            waiting.append(turn.content)
        elif turn.role == "user":
            turns.append(Message("user", "\n\n".join([*waiting, turn.content])))
            waiting = []
        else:
            turns.append(turn)
    return _chat_text(tokenizer, tuple(turns), kwargs) or ""


def prompt_ids(tokenizer: Any, prompt: Prompt, template: Template = "auto", kwargs: Variables = None) -> list[int]:
    """Encode a rendered prompt; a template brings its own special tokens, so none are added to it."""
    return _head_ids(tokenizer, render(tokenizer, prompt, template, kwargs), uses_chat(tokenizer, template))


def _head_ids(tokenizer: Any, text: str, chat: bool) -> list[int]:
    ids = tokenizer(text, add_special_tokens=not chat)["input_ids"]
    # A tokenizer that closes every text with eos would end the conversation before the response.
    if ids and not chat and ids[-1] == tokenizer.eos_token_id and len(ids) > 1:
        ids = ids[:-1]
    return list(ids)


def response_ids(tokenizer: Any, response: str, template: Template = "auto") -> list[int]:
    """Encode a response as it would follow its prompt, eos at the end."""
    # An HH head ends in "Assistant:", so the space, which tokenizers join to the first word, is the response's.
    text = response if uses_chat(tokenizer, template) else " " + response
    # Completions come without eos, and a preference model is to see whether a response ended.
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def encode_pair(
    tokenizer: Any,
    prompt: Prompt,
    response: str,
    max_length: int,
    template: Template = "auto",
    kwargs: Variables = None,
) -> Encoded:
    """Encode a prompt and a response that is to be scored in at most ``max_length`` tokens.

    The prompt is cut on the left; where the response alone is too long it is cut on the right and its eos kept.
    """
    answer = response_ids(tokenizer, response, template)
    if len(answer) > max_length:
        answer = [*answer[: max_length - 1], answer[-1]]
    # A response is what follows the reasoning: none is left open before it.
    text = render(tokenizer, prompt, template, kwargs)
    text = text.rstrip().removesuffix(THINK) if text.rstrip().endswith(THINK) else text
    head = _head_ids(tokenizer, text, uses_chat(tokenizer, template))
    head = head[max(0, len(head) - (max_length - len(answer))) :]
    return Encoded([*head, *answer], len(head))
