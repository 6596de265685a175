"""The one place where a prompt becomes text, and where a scored response becomes tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from morlaif_core.errors import UserError
from morlaif_core.types import Message, Prompt, PromptLike, ended, make_prompt

from .plain_text import steering_tokens, text_ids, token_ids

Template = Literal["auto", "chat", "hh"]
Variables: TypeAlias = Mapping[str, Any] | None
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
THINK, THOUGHT = "<think>", "</think>"
"""Around the reasoning with which a response may begin."""


class Encoded(NamedTuple):
    """Token ids of prompt and response.

    Attributes:
        ids: of both.
        start: where the response begins; ``ids[start:]`` has the token that closes it, if it ended.
    """

    ids: list[int]
    start: int


def hh_text(messages: tuple[Message, ...]) -> str:
    """Write a conversation in the form of HH-rlhf, turn by turn; a system turn stands first, bare.

    messages: the turns.

    >>> hh_text((Message("user", "Hi"), Message("assistant", "Hello.")))
    '\\n\\nHuman: Hi\\n\\nAssistant: Hello.'
    """
    heads = {"user": HUMAN + " ", "assistant": ASSISTANT + " ", "system": ""}
    return "".join(heads[turn.role] + turn.content for turn in messages)


def uses_chat(tokenizer: Any, template: Template) -> bool:
    """Say whether prompts are rendered by the tokenizer's chat template."""
    return template == "chat" or (template == "auto" and getattr(tokenizer, "chat_template", None) is not None)


def render(tokenizer: Any, prompt: PromptLike, template: Template = "auto", kwargs: Variables = None) -> str:
    """Turn a prompt into the text that a response follows: chat template where there is one, else HH turns.

    Args:
        tokenizer: the model's.
        prompt: what `make_prompt` takes.
        template: auto, chat or hh, as `Target.template`.
        kwargs: variables for the chat template. Where it refuses a system turn or leaves it out (Gemma), that turn's text is
            put before the next user turn's.

    Raises:
        UserError: there is no such template or variable, or the template refuses the conversation.

    >>> from morlaif_core.testing.bases import tiny_tokenizer
    >>> render(tiny_tokenizer(), "Hi"), render(tiny_tokenizer(chat=True), "Hi")
    ('\\n\\nHuman: Hi\\n\\nAssistant:', '<|user|>Hi</s><|assistant|>')
    """
    prompt = make_prompt(prompt)
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


def prompt_ids(tokenizer: Any, prompt: PromptLike, template: Template = "auto", kwargs: Variables = None) -> list[int]:
    """Encode a rendered prompt; a template brings its own special tokens, so none are added to it.

    tokenizer, prompt, template, kwargs: as in `render`.

    >>> from morlaif_core.testing.bases import tiny_tokenizer
    >>> tokenizer = tiny_tokenizer()
    >>> tokenizer.decode(prompt_ids(tokenizer, "Hi")) == render(tokenizer, "Hi")
    True
    """
    return _head_ids(tokenizer, make_prompt(prompt), template, kwargs, closed=False)


def _head_ids(tokenizer: Any, prompt: Prompt, template: Template, kwargs: Variables, *, closed: bool) -> list[int]:
    """Encode what stands before a response; closed: without reasoning that the template opens."""
    chat = uses_chat(tokenizer, template)
    marked, spelled = _marked(tokenizer, prompt) if chat else (prompt, {})
    text = render(tokenizer, marked, template, kwargs)
    if closed and text.rstrip().endswith(THINK):
        text = text.rstrip().removesuffix(THINK)
    if chat:
        return _framed_ids(tokenizer, text, spelled)
    ids = text_ids(tokenizer, text, add_special_tokens=True)
    # A tokenizer that closes every text with eos would end the conversation before the response.
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids


def _marked(tokenizer: Any, prompt: Prompt) -> tuple[Prompt, dict[str, str]]:
    """Put marks in place of messages in which steering tokens are spelled out; returns these messages by their marks.

    Most messages hold none, and are encoded with what stands around them, as the model's authors did.
    """
    special, others = (steering_tokens(tokenizer, special=mark) for mark in (True, False))
    turns = list(prompt.messages)
    spelled: dict[str, str] = {}
    for place, turn in enumerate(prompt.messages):
        # A model's own turns may hold the others (`<think>`, `<tool_call>`): the template looks for them.
        if any(token in turn.content for token in (special if turn.role == "assistant" else special | others)):
            spelled[mark := f"MORLAIF-TURN-{place}-TEXT"] = turn.content
            turns[place] = replace(turn, content=mark)
    return Prompt(prompt.id, tuple(turns)), spelled


def _framed_ids(tokenizer: Any, text: str, spelled: Mapping[str, str]) -> list[int]:
    """Encode what a chat template rendered; what stands for the marks stays text."""
    # Wherever the template put the messages: some move the system turn behind others, or leave a turn out.
    pieces = re.split("(" + "|".join(map(re.escape, spelled)) + ")", text) if spelled else [text]
    ids: list[int] = []
    for piece in pieces:
        # Without text nothing is encoded: some tokenizers make a token of it.
        if piece in spelled:
            ids += text_ids(tokenizer, spelled[piece])
        elif piece:
            ids += token_ids(tokenizer, piece)
    return ids


def closing_id(tokenizer: Any, template: Template = "auto") -> int:
    """Return the token that ends a response: eos, or the special token by which the chat template closes a turn."""
    return _turn_end(tokenizer) if uses_chat(tokenizer, template) else int(tokenizer.eos_token_id)


@lru_cache(maxsize=16)  # a template takes longer than a response
def _turn_end(tokenizer: Any) -> int:
    from jinja2 import TemplateError

    mark = "MORLAIF-RESPONSE"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except TemplateError:
        return int(tokenizer.eos_token_id)
    ids = token_ids(tokenizer, text.partition(mark)[2].lstrip())
    added = tokenizer.added_tokens_decoder
    # What follows the turn may be ordinary text, such as a line break, which ends nothing.
    return int(ids[0]) if ids and ids[0] in added and added[ids[0]].special else int(tokenizer.eos_token_id)


def response_ids(tokenizer: Any, response: str, template: Template = "auto") -> list[int]:
    """Encode a response as it would follow its prompt, with the token that closes it where it ended."""
    # An HH head ends in "Assistant:", so the space, which tokenizers join to the first word, is the response's.
    ids = text_ids(tokenizer, response if uses_chat(tokenizer, template) else " " + response)
    # Completions come without it, and a preference model is to see whether a response ended; of an empty one it reads
    # this token in any case.
    return [*ids, closing_id(tokenizer, template)] if ended(response) or not ids else ids


def encode_pair(
    tokenizer: Any,
    prompt: PromptLike,
    response: str,
    max_length: int,
    template: Template = "auto",
    kwargs: Variables = None,
) -> Encoded:
    """Encode a prompt and a response that is to be scored.

    The prompt is cut on the left; where the response alone is too long it is cut on the right, and the token that closes
    it kept if it ended. What is spelled out as a special token, in either, stays text.

    Args:
        tokenizer, template, kwargs: as in `render`.
        prompt: what `make_prompt` takes.
        response: its text; a `CutOff` where it did not end.
        max_length: the most tokens that both may have.

    >>> from morlaif_core.testing.bases import tiny_tokenizer
    >>> tokenizer = tiny_tokenizer()
    >>> pair = encode_pair(tokenizer, "Hi", "Hello.", 64)
    >>> tokenizer.decode(pair.ids[pair.start :])
    ' Hello.</s>'
    """
    prompt = make_prompt(prompt)
    answer = response_ids(tokenizer, response, template)
    if len(answer) > max_length:
        answer = [*answer[: max_length - 1], answer[-1]] if ended(response) else answer[:max_length]
    # A response is what follows the reasoning: none is left open before it.
    head = _head_ids(tokenizer, prompt, template, kwargs, closed=True)
    head = head[max(0, len(head) - (max_length - len(answer))) :]
    return Encoded([*head, *answer], len(head))
