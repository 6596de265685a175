"""pairs.jsonl: rows of sampled pairs, written in whole chunks, read by the later stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morlaif_core.runs.folder import json_line, read_jsonl
from morlaif_core.types import CutOff, Message, Prompt, ResponsePair, ended

FILE = "pairs.jsonl"


@dataclass(frozen=True)
class StoredPair:
    """A pair with the name of its prompt set."""

    set: str
    pair: ResponsePair


def pair_row(stored: StoredPair) -> dict[str, Any]:
    """A pair as a row."""
    pair = stored.pair
    prompt = message_rows(pair.prompt)
    row = {"id": pair.id, "set": stored.set, "prompt_id": pair.prompt.id, "prompt": prompt, "a": pair.a, "b": pair.b}
    own = {"labels": dict(pair.labels)} if pair.labels else {}
    return {**row, "human": pair.human, "ended": [ended(pair.a), ended(pair.b)], **own}


def message_rows(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt's turns as JSON."""
    return [{"role": turn.role, "content": turn.content} for turn in prompt.messages]


def read_pairs(run: Path, file: str = FILE) -> list[StoredPair]:
    """All pairs of a run, in the order of the file; where `says_ends` is false, as if all responses had ended."""
    rows = list(read_jsonl(run / file))
    known = _says_ends(rows)
    return [_pair_of(row, known) for row in rows]


def says_ends(file: Path) -> bool:
    """Whether each row of pairs.jsonl or evaluation.jsonl says which responses ended; those of an earlier version do not.

    All or nothing: responses of which some are told apart and some are not could not be compared.
    """
    return _says_ends(read_jsonl(file))


def _says_ends(rows: Iterable[dict[str, Any]]) -> bool:
    return all("ended" in row for row in rows)


def _pair_of(row: dict[str, Any], known: bool) -> StoredPair:
    messages = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
    prompt = Prompt(row["prompt_id"], messages)
    a, b = map(response_of, (row["a"], row["b"]), row["ended"] if known else (True, True))
    return StoredPair(row["set"], ResponsePair(row["id"], prompt, a, b, row["human"], row.get("labels")))


def response_of(text: str, whole: bool) -> str:
    """A stored response, cut off or whole."""
    return text if whole else CutOff(text)


def share_ended(responses: Sequence[str]) -> float:
    """The share of responses that ended by themselves; there is at least one."""
    return sum(map(ended, responses)) / len(responses)


def write_chunks(
    file: Path, chunks: Sequence[Any], rows_of: Callable[[Any], list[dict[str, Any]]], done: Callable[[int], None]
) -> None:
    """Write each chunk's rows whole, in order; chunks that the file already holds are kept, half a chunk is cut off.

    A chunk ends with a marker in a side file, so that what a crash left is told apart from what is complete.
    """
    marks = file.with_name(f".{file.name}.chunks")
    ends = _complete(file, marks)
    with file.open("ab") as out, marks.open("ab") as marker:
        # Append mode and truncate: what lies before the last complete chunk is never written again.
        out.truncate(ends[-1] if ends else 0)
        marker.truncate(sum(len(_mark(end)) for end in ends))
        done(len(ends))
        for number, chunk in enumerate(chunks[len(ends) :], len(ends) + 1):
            out.write("".join(json_line(row) for row in rows_of(chunk)).encode())
            out.flush()
            # The rows before their mark: a mark on the disk vouches for them.
            os.fsync(out.fileno())
            marker.write(_mark(out.tell()))
            marker.flush()
            os.fsync(marker.fileno())
            done(number)


def _mark(end: int) -> bytes:
    return f"{end}\n".encode()


def _complete(file: Path, marks: Path) -> list[int]:
    """Byte offsets at which complete chunks end."""
    if not file.exists() or not marks.exists():
        return []
    size = file.stat().st_size
    ends = []
    for line in marks.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n") or not line.strip().isdigit() or int(line) > size:
            break
        ends.append(int(line))
    return ends
