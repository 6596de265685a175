"""What the commands read: prompts and responses from JSON lines, each mistake with its line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from morlaif_core import CutOff, Message, Prompt, UserError, make_prompt, write_text

ROLES = ("system", "user", "assistant")


class Asked:
    """Makes prompts of texts and conversations; those that do not begin with a system turn get one, where there is one."""

    def __init__(self, system: str | None) -> None:
        self._system = system

    def prompt(self, said: object) -> Prompt:
        """Make a prompt of a text or of a list of messages. Raises `ValueError` where it is neither."""
        turns = [Message("user", said)] if isinstance(said, str) else _turns(said)
        if self._system and turns[0].role != "system":
            turns = [Message("system", self._system), *turns]
        return make_prompt(turns)

    def of_row(self, row: object) -> Prompt:
        """Make a prompt of a row: a text, or a mapping with `prompt` (text or messages) or `messages`."""
        if not isinstance(row, dict):
            return self.prompt(row)
        given = [key for key in ("prompt", "messages") if row.get(key) is not None]
        if len(given) != 1:
            raise ValueError(f"say `prompt` or `messages`; the row has {', '.join(map(str, row)) or 'no columns'}")
        return self.prompt(row[given[0]])


def _turns(said: object) -> list[Message]:
    if not isinstance(said, list) or not said:
        raise ValueError("a prompt is a text, or a list of messages {role, content}")
    for turn in said:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise ValueError(f"a message is {{role: {' or '.join(ROLES)}, content: text}}, not {_short(turn)}")
    if said[-1]["role"] != "user":
        raise ValueError(f"a prompt ends with the user's turn, not with the {said[-1]['role']}'s")
    return [Message(turn["role"], turn["content"]) for turn in said]


def responses_of(row: object) -> list[str]:
    """Return the responses of a row: `response`, a text or a list of texts; `ended: false` says that they were cut off."""
    given = row.get("response") if isinstance(row, dict) else None
    texts = [given] if isinstance(given, str) else given
    if not isinstance(row, dict) or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("say `response`, a text or a list of texts")
    whole = row.get("ended", True)
    ends = whole if isinstance(whole, list) else [whole] * len(texts)
    if len(ends) != len(texts) or not all(isinstance(end, bool) for end in ends):
        raise ValueError("`ended` is true or false, or a list with one of them for each response")
    return [text if end else CutOff(text) for text, end in zip(texts, ends, strict=True)]


def rows_in(file: Path) -> Iterator[tuple[str, object]]:
    """Yield each row of a file of JSON lines, with the place to name where it is wrong. Raises `UserError`."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}; give a file of JSON lines in UTF-8") from None
    found = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where, found = f"{file}, line {number}", True
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f'{where}: no JSON ({error}); a line is "a text", or {{"prompt": "a text"}}') from None
        yield where, row
    if not found:
        raise UserError(f"{file} has no rows; write one prompt a line, as JSON")


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    write_text(file, "".join(line_of(row) + "\n" for row in rows))


def line_of(row: Mapping[str, Any]) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(row, ensure_ascii=False)


def said_in(prompt: Prompt) -> str | list[dict[str, str]]:
    """Return a prompt as it is written to a row: its text where it is one turn of the user, else its messages."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return [{"role": turn.role, "content": turn.content} for turn in prompt.messages]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
