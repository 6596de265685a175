"""The one place where a prompt becomes text, and where a scored response becomes tokens."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from morlaif_core.types import Message, Prompt, ended

Template = Literal["auto", "chat", "hh"]
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


class Encoded(NamedTuple):
    """Token ids of prompt and response; ``ids[start:]`` is the response, with the token that closes it if it ended."""

    ids: list[int]
    start: int


def hh_text(messages: tuple[Message, ...]) -> str:
    """Write a conversation in the form of HH-rlhf, turn by turn; a system turn stands first, bare."""
    heads = {"user": HUMAN + " ", "assistant": ASSISTANT + " ", "system": ""}
    return "".join(heads[turn.role] + turn.content for turn in messages)


def uses_chat(tokenizer: Any, template: Template) -> bool:
    """Say whether prompts are rendered by the tokenizer's chat template."""
    return template == "chat" or (template == "auto" and getattr(tokenizer, "chat_template", None) is not None)


def render(tokenizer: Any, prompt: Prompt, template: Template = "auto") -> str:
    """Turn a prompt into the text that a response follows: chat template where there is one, else HH turns."""
    if uses_chat(tokenizer, template):
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return str(text)
    return hh_text(prompt.messages) + ASSISTANT


def prompt_ids(tokenizer: Any, prompt: Prompt, template: Template = "auto") -> list[int]:
    """Encode a rendered prompt; a template brings its own special tokens, so none are added to it."""
    if uses_chat(tokenizer, template):
        return _chat_ids(tokenizer, prompt, template)
    ids = text_ids(tokenizer, render(tokenizer, prompt, template), add_special_tokens=True)
    # A tokenizer that closes every text with eos would end the conversation before the response.
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids


def _chat_ids(tokenizer: Any, prompt: Prompt, template: Template) -> list[int]:
    """Encode a prompt by the chat template; special tokens that are spelled out in a message stay text."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    # Most messages hold none, and are encoded with what stands around them, as the model's authors did.
    spelled = {
        f"MORLAIF-TURN-{place}-TEXT": turn.content
        for place, turn in enumerate(prompt.messages)
        if any(token in turn.content for token in special)
    }
    marks = iter(spelled)
    turns = tuple(replace(t, content=next(marks)) if t.content in spelled.values() else t for t in prompt.messages)
    rest, ids = render(tokenizer, Prompt(prompt.id, turns), template), list[int]()
    for mark, content in spelled.items():
        before, found, after = rest.partition(mark)
        # A template may leave a turn out.
        if found:
            ids += [*tokenizer(before, add_special_tokens=False)["input_ids"], *text_ids(tokenizer, content)]
            rest = after
    return [*ids, *tokenizer(rest, add_special_tokens=False)["input_ids"]]


def text_ids(tokenizer: Any, text: str, *, add_special_tokens: bool = False) -> list[int]:
    """Encode what somebody wrote: a special token that is spelled out in it stays text."""
    return list(tokenizer(text, add_special_tokens=add_special_tokens, split_special_tokens=True)["input_ids"])


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
    ids = tokenizer(text.partition(mark)[2].lstrip(), add_special_tokens=False)["input_ids"]
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


def encode_pair(tokenizer: Any, prompt: Prompt, response: str, max_length: int, template: Template = "auto") -> Encoded:
    """Encode a prompt and a response that is to be scored in at most ``max_length`` tokens.

    The prompt is cut on the left; where the response alone is too long it is cut on the right, and the token that closes
    it kept if it ended. What is spelled out as a special token, in either, stays text.
    """
    answer = response_ids(tokenizer, response, template)
    if len(answer) > max_length:
        answer = [*answer[: max_length - 1], answer[-1]] if ended(response) else answer[:max_length]
    head = prompt_ids(tokenizer, prompt, template)
    head = head[max(0, len(head) - (max_length - len(answer))) :]
    return Encoded([*head, *answer], len(head))
