"""RUN/preview/responses.jsonl: the sampled responses by prompt, a line for each cell, written as it is sampled."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from morlaif_core import CutOff, Message, Prompt, ended, make_prompt

if TYPE_CHECKING:
    from morlaif_core import Workbench

FILE = "responses.jsonl"
FORMAT = 4
CHUNK = 32
"""Prompts of a cell: neighbours in the prompt set, fewer at its end or where some of them have responses already."""
ROUND = 4
"""Responses of a cell to each of its prompts. Cells are fixed and whole, so that a file that grew in steps, or through
kills, has the rows of one that was made at once."""
Place: TypeAlias = tuple[str, int]
"""A prompt's id, and which round of responses."""


@dataclass
class Stored:
    """What the file holds.

    Attributes:
        prompts: by id, in the order of the file.
        responses: ROUND of them by place.
        rest: how many prompts the set had when it was last read and `prompts.rl` was null, which takes the rest.
        refused: why nothing of the file can be used; empty where it can, or where there is no file.
    """

    prompts: dict[str, Prompt] = field(default_factory=dict)
    responses: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    rest: int | None = None
    refused: str = ""

    def add(self, number: int, prompts: Sequence[Prompt], responses: Iterable[Sequence[str]]) -> None:
        """Take up the responses of a round."""
        for prompt, texts in zip(prompts, responses, strict=True):
            self.prompts.setdefault(prompt.id, prompt)
            self.responses[prompt.id, number] = tuple(texts)


def read_responses(bench: Workbench, file: Path, key: str, seed: int) -> Stored:
    """Read what is stored under a key. A last line that a kill tore is cut off, and damaged lines are taken out."""
    if not file.exists():
        return Stored()
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    # Cut in the file too, or the next line would be glued to the torn one.
    if whole < len(content):
        os.truncate(file, whole)
    first, *lines = content[:whole].splitlines(keepends=True) or [b""]
    stored = Stored(refused=_refused(first, key, seed))
    if stored.refused:
        return stored
    kept = [line for line in lines if _take(stored, line)]
    if len(kept) < len(lines):
        _write(file, [first, *kept])
        bench.say(f"{file}: {len(lines) - len(kept)} damaged lines are taken out; what they held is made anew")
    return stored


def begin(file: Path, key: str, seed: int) -> None:
    """Begin a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    append(file, {"format": FORMAT, "key": key, "seed": seed})


def append_cell(file: Path, number: int, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> None:
    """Add a cell."""
    rows = [
        {
            "prompt": prompt.id,
            "messages": [vars(turn) for turn in prompt.messages],
            "responses": list(texts),
            "ended": list(map(ended, texts)),
        }
        for prompt, texts in zip(prompts, responses, strict=True)
    ]
    append(file, {"round": number, "size": len(rows), "rows": rows})


def append(file: Path, row: dict[str, Any]) -> None:
    """Add a line, on the disk when this returns."""
    with file.open("ab") as out:
        out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def _refused(first: bytes, key: str, seed: int) -> str:
    """Say why a file with this first line is of no use; empty where it is."""
    try:
        header = json.loads(first)
        if header["format"] != FORMAT:
            return "was written by another version"
        if header["key"] == key:
            return ""
        return (
            f"is of seed {header['seed']}"
            if header["seed"] != seed
            else "is of models or a calibration that were made anew since"
        )
    except (ValueError, KeyError, TypeError):
        return "cannot be read"


def _take(stored: Stored, line: bytes) -> bool:
    """Take up a line; False where it is damaged."""
    try:
        row = json.loads(line)
        if "rest" in row:
            stored.rest = int(row["rest"])
            return True
        prompts = [make_prompt([Message(**turn) for turn in item["messages"]]) for item in row["rows"]]
        texts = [_responses(item) for item in row["rows"]]
        number = int(row["round"])
        # Ids are made anew from the messages: a prompt that was damaged has another.
        if len(texts) != row["size"] or [prompt.id for prompt in prompts] != [item["prompt"] for item in row["rows"]]:
            return False
        if not all(len(own) == ROUND and all(isinstance(text, str) for text in own) for own in texts):
            return False
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    stored.add(number, prompts, texts)
    return True


def _responses(item: dict[str, Any]) -> list[str]:
    """Read a prompt's responses, each with whether it ended. Raises ValueError where these do not fit."""
    rows = zip(item["responses"], item["ended"], strict=True)
    return [text if whole else CutOff(text) for text, whole in rows]


def _write(file: Path, lines: Sequence[bytes]) -> None:
    """Write lines whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_bytes(b"".join(lines))
    temporary.replace(file)
