"""evaluation.jsonl, a row for each held-out prompt with its answers, verdicts and scores; and the answers on the way."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morlaif_core.feedback.types import Verdict
from morlaif_core.runs.folder import read_jsonl, write_jsonl
from morlaif_core.types import Floats, Message, Prompt, ResponsePair, ended, make_pair

from .pairs import FILE as PAIRS, response_of, says_ends

ROWS = "evaluation.jsonl"
BEFORE = ".evaluation.before.jsonl"
"""Pairs of the untrained target's answers, written in chunks."""
RESPONSES = ".evaluation.after.jsonl"
"""The policy's answers, written in chunks."""
FILES = (ROWS, BEFORE, RESPONSES, *(f".{name}.chunks" for name in (BEFORE, RESPONSES, ROWS)))

_SIDES = ("reference", "before", "after")


def write_rows(
    place: Path,
    before: Sequence[ResponsePair],
    after: Sequence[ResponsePair],
    known: tuple[bool, bool],
    verdicts: Sequence[Verdict],
    scores: Mapping[str, tuple[Floats, Floats, Floats]],
) -> None:
    """Write a row a prompt. known: see `Compared`; scores: of reference, before, after, by principle, in this order."""
    by_pair = {(item.pair, item.principle): item for item in verdicts}
    asked = {item.principle for item in verdicts}
    rows = []
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        principles = {
            name: {
                **_judged(name in asked, old, new, name, by_pair),
                **{f"pm_{side}": _number(of[number]) for side, of in zip(_SIDES, scores[name], strict=True)},
            }
            for name in scores
        }
        messages = [{"role": turn.role, "content": turn.content} for turn in old.prompt.messages]
        rows.append(
            {
                "prompt_id": old.prompt.id,
                "prompt": messages,
                **{side: str(text) for side, text in zip(_SIDES, (old.a, old.b, new.b), strict=True)},
                "ended": _ends(old, new, known),
                "principles": principles,
            }
        )
    write_jsonl(place / ROWS, rows)


def _ends(old: ResponsePair, new: ResponsePair, known: tuple[bool, bool]) -> dict[str, bool | None]:
    """Whether each answer ended by itself; None where an earlier version did not say."""
    told = (known[0], known[0], known[1])
    texts = zip(_SIDES, (old.a, old.b, new.b), told, strict=True)
    return {side: ended(text) if says else None for side, text, says in texts}


def _judged(
    asked: bool,
    old: ResponsePair,
    new: ResponsePair,
    principle: str,
    verdicts: Mapping[tuple[str, str], Verdict],
) -> dict[str, Any]:
    """P(preferred to the reference) and the verdict's status, before and after; None where nobody was asked."""
    found: dict[str, Any] = {}
    for when, pair in (("before", old), ("after", new)):
        verdict = verdicts.get((pair.id, principle))
        if verdict is not None:
            p, status = None if verdict.p_a is None else 1 - verdict.p_a, str(verdict.status)
        else:  # equal texts are a tie without asking
            p, status = (0.5, "equal") if asked and pair.a == pair.b else (None, "not_asked")
        found |= {f"p_{when}": p, f"status_{when}": status}
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def adopt(place: Path) -> None:
    """Take over the answers of an earlier version, which it kept alone where the rows are now."""
    file, marks = place / ROWS, place / f".{ROWS}.chunks"
    if file.exists() and marks.exists():
        os.replace(file, place / RESPONSES)
        os.replace(marks, place / f".{RESPONSES}.chunks")


def read_compared_pairs(place: Path) -> list[ResponsePair]:
    """The pairs that were judged, before and after, as evaluation.jsonl has them; none where an earlier version wrote it."""
    found = []
    for row in read_jsonl(place / ROWS) if (place / ROWS).exists() else ():
        if "reference" in row:
            # Null: it is not known, and was judged as if it had ended.
            reference, before, after = (response_of(row[side], row["ended"][side] is not False) for side in _SIDES)
            prompt = Prompt(row["prompt_id"], tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]))
            found += [make_pair(prompt, reference, before), make_pair(prompt, reference, after)]
    return found


def read_after(file: Path) -> dict[str, str]:
    """The stored responses of the policy, by prompt id, of evaluation.jsonl or of the answers on the way to it."""
    return {row["prompt_id"]: response_of(row["after"], _whole(row)) for row in read_jsonl(file)}


def read_compared(folder: Path) -> dict[str, str]:
    """The policy's responses as they are judged and scored beside the untrained target's; empty where there are none."""
    file = next((folder / name for name in (RESPONSES, ROWS) if (folder / name).exists()), None)
    after = read_after(file) if file else {}
    # Told of one side alone, the judge would hold it against that side.
    return after if says_ends(folder / PAIRS) else {prompt: str(text) for prompt, text in after.items()}


def _whole(row: Mapping[str, Any]) -> bool:
    said = row.get("ended", True)
    said = said["after"] if isinstance(said, dict) else said
    return True if said is None else bool(said)
