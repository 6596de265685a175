"""Data sets in the forms of TRL: prompt-only and preference, standard and conversational, explicit and implicit prompt.

Forms, with the column names of TRL's "Dataset formats and types"::

    {"prompt": "Why is the sky blue?"}                                         standard, prompt-only
    {"prompt": "…", "chosen": "…", "rejected": "…"}                            standard, explicit prompt
    {"prompt": [messages]}                                                     conversational, prompt-only
    {"prompt": [messages], "chosen": [message], "rejected": [message]}         conversational, explicit prompt
    {"chosen": [messages], "rejected": [messages]}                             conversational, implicit prompt
    {"chosen": "\\n\\nHuman: …", "rejected": "\\n\\nHuman: …"}             text with the turns of HH-rlhf, implicit

Where ``chosen`` and ``rejected`` are whole conversations, the prompt is read from them even beside a prompt column. A
prompt that is text with the turns of HH-rlhf is cut into these turns.

Leaves out: labels of TRL's unpaired and stepwise forms, because they compare no two responses: of such rows the prompt alone
is read; messages that are not text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

from morlaif_core import Message, Prompt, UserError, make_prompt

from .files import Row
from .hh import ASSISTANT, hh_messages, hh_pair
from .options import PreferencesOptions
from .rows import Parsed, RowsDataset, Skip
from .source import FileSource, HubSource, HubSplits, Source

Value: TypeAlias = str | list[Message]
HUMAN = "\n\nHuman:"
_ROLES = ("system", "user", "assistant")


def preferences_dataset(options: PreferencesOptions) -> RowsDataset:
    """Build the data set that the options name. Raises UserError for a local file that is not there."""
    source: Source
    if options.path is not None:
        source = FileSource(options.path)
    else:
        part = {"name": options.subset, "revision": options.revision}
        source = HubSource(str(options.name), (part,), HubSplits(options.split_train, options.split_test))
    return RowsDataset(source, _Parser(options).parse, options.held_out)


class _Parser:
    """Reads rows by the column names of the options."""

    def __init__(self, options: PreferencesOptions) -> None:
        self._prompt = options.prompt_column
        self._chosen = options.chosen_column
        self._rejected = options.rejected_column

    def parse(self, row: Row) -> Parsed:
        """Read one row in any of the forms. Raises Skip, or UserError where a key is missing or of another type."""
        # One of the two alone is an error below: a preference is not to pass for a mere prompt.
        answers = [key for key in (self._chosen, self._rejected) if key in row.values]
        if not answers:
            return Parsed(_prompt(self._value(row, self._prompt)))
        chosen, rejected = self._value(row, self._chosen), self._value(row, self._rejected)
        if _whole(chosen) and _whole(rejected):
            return _implicit(cast("list[Message]", chosen), cast("list[Message]", rejected))
        if self._prompt not in row.values and isinstance(chosen, str) and isinstance(rejected, str) and HUMAN in chosen:
            return hh_pair(chosen, rejected)
        return Parsed(_prompt(self._value(row, self._prompt)), (_response(chosen), _response(rejected)))

    def _value(self, row: Row, key: str) -> Value:
        if key not in row.values:
            has, names = ", ".join(map(str, row.values)), "prompt_column, chosen_column, rejected_column"
            expected = f"'{self._prompt}' alone, or with '{self._chosen}' and '{self._rejected}'"
            raise UserError(
                f"{row.place}: no key '{key}' (the record has: {has}); expected: {expected}; {names} set other names"
            )
        return _typed(row.values[key], f"{row.place}: '{key}'")


def _typed(value: object, place: str) -> Value:
    """Check that a value is text or a list of messages. Raises UserError, naming the place."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        kind = "null" if value is None else type(value).__name__
        raise UserError(f"{place} is {kind}; expected is text or a list of messages with role and content")
    return [_message(item, place) for item in value]


def _message(item: object, place: str) -> Message:
    if not isinstance(item, Mapping) or not {"role", "content"} <= set(item):
        raise UserError(f"{place} holds an entry that is not a message; a message is {{role: …, content: …}}")
    role, content = item["role"], item["content"]
    if role not in _ROLES:
        raise Skip(f"a role other than {', '.join(_ROLES)}")
    if not isinstance(content, str):
        raise Skip("a message that is not text")
    return Message(cast('Literal["system", "user", "assistant"]', role), content.strip())


def _whole(value: Value) -> bool:
    """Say whether a value is a conversation from its beginning, not only a response."""
    return isinstance(value, list) and bool(value) and value[0].role != "assistant"


def _implicit(chosen: list[Message], rejected: list[Message]) -> Parsed:
    """Take the prompt from two conversations that differ in their last message only."""
    if chosen[:-1] != rejected[:-1]:
        raise Skip("prompts differ")
    return Parsed(_prompt(chosen[:-1]), (_response(chosen[-1:]), _response(rejected[-1:])))


def _prompt(value: Value) -> Prompt:
    """Make a prompt of text or messages. Raises Skip where it is empty or does not end with the user's turn."""
    if isinstance(value, str):
        # A prompt may end with the head that its response followed.
        text = value.rstrip().removesuffix(ASSISTANT.strip())
        value = hh_messages(text) if value.startswith(HUMAN) else [Message("user", value.strip())]
    if not value or not value[-1].content:
        raise Skip("empty prompt")
    if value[-1].role != "user":
        raise Skip("prompt does not end with the user's turn")
    return make_prompt(value)


def _response(value: Value) -> str:
    """Return the text of a response. Raises Skip where it is empty or is not one message of the assistant."""
    if isinstance(value, list):
        if len(value) > 1:
            raise Skip("response of several messages")
        if value and value[0].role != "assistant":
            raise Skip("response is not the assistant's")
        value = value[0].content if value else ""
    if not value.strip():
        raise Skip("empty response")
    return value.strip()
