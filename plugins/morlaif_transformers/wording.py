"""From messages to tokens: the template's special tokens are special, what stands in a message is ordinary text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from morlaif_core import Message, ProviderError, UserError, content_hash, text_tokenizer

_SETTINGS = {"date_string": "1 January 2025", "enable_thinking": False}
"""For templates that ask: a date of today would make tomorrow's verdict another one; the letter comes at once."""


class Wording:
    """Encodes a judge's messages for one tokenizer.

    template: auto is the tokenizer's chat template where it has one, else plain: system and user turns as paragraphs,
    then ``Answer:``. Either way the next token is the letter. Raises `UserError` where the tokenizer cannot do it.
    """

    def __init__(self, tokenizer: Any, template: Literal["auto", "chat", "plain"]) -> None:
        if not tokenizer.is_fast:
            raise UserError("the judge's tokenizer has no tokenizer.json; save the model with a fast tokenizer")
        has_template = tokenizer.chat_template is not None
        if template == "chat" and not has_template:
            raise UserError("template: chat, but the judge's tokenizer has no chat template; say template: plain")
        self._tokenizer = tokenizer
        self._chat = template == "chat" or (template == "auto" and has_template)
        self._plain, self._special = text_tokenizer(tokenizer)
        self._frames: dict[tuple[str, ...], tuple[list[list[int]], bool]] = {}

    @property
    def identity(self) -> str:
        """``chat`` or ``plain`` with a hash of the text around a judge's two turns."""
        return f"{'chat' if self._chat else 'plain'}-{content_hash(self._texts(('system', 'user')))}"

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens that the answer follows. Raises `ProviderError` (item) for text that cannot be encoded."""
        roles = tuple(message.role for message in messages)
        if roles not in self._frames:
            texts, merged = self._texts(roles)
            self._frames[roles] = [self._encode_frame(text) for text in texts], merged
        frame, merged = self._frames[roles]
        contents = [message.content for message in messages]
        if merged:
            contents = ["\n\n".join(contents[:2]), *contents[2:]]
        ids = [*_start(self._tokenizer)] if not self._chat else []
        for piece, content in zip(frame, contents, strict=False):
            ids += [*piece, *self._encode_text(content)]
        return [*ids, *frame[-1]]

    def _encode_frame(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _encode_text(self, text: str) -> list[int]:
        """Encode a message's content. A tokenizer whose model knows a special token as a word could still give it."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        if not self._special.isdisjoint(ids):
            raise ProviderError("the text holds a special token that this tokenizer cannot read as text", "item")
        return ids

    def _texts(self, roles: tuple[str, ...]) -> tuple[list[str], bool]:
        """Return the text before each message and after the last; whether the system turn is put into the user's.

        The template sees marks in place of contents, so no text can act on it.
        """
        if not self._chat:
            return _plain_texts(roles), False
        found = self._around(roles)
        if found is not None:
            return found, False
        merged = self._around(roles[1:]) if roles[0] == "system" else None
        if merged is None:
            raise UserError("the judge's chat template does not show every turn once, in order; say template: plain")
        return merged, True

    def _around(self, roles: tuple[str, ...]) -> list[str] | None:
        """Render marks by the chat template and cut there; None where it refuses a role or leaves a turn out."""
        from jinja2 import TemplateError

        marks = [f"MORLAIF-TURN-{place}-TEXT" for place in range(len(roles))]
        turns = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            rest = str(
                self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **_SETTINGS)
            )
        except TemplateError:
            return None
        texts = []
        # Each mark once and in order, or the template hides, repeats or moves a turn.
        for mark in marks:
            before, found, rest = rest.partition(mark)
            if not found:
                return None
            texts.append(before)
        return None if any(mark in rest for mark in marks) else [*texts, rest]


def _plain_texts(roles: tuple[str, ...]) -> list[str]:
    before = {"system": "", "user": "\n\n", "assistant": "\n\nAnswer: "}
    texts = [before[role] for role in roles]
    return [texts[0].lstrip(), *texts[1:], "\n\nAnswer:"]


def _start(tokenizer: Any) -> list[int]:
    """Return bos where the tokenizer puts it before a text."""
    added = tokenizer("")["input_ids"]
    return [tokenizer.bos_token_id] if tokenizer.bos_token_id in added else []
