"""Responses to preview with, kept in RUN/preview/responses.jsonl: sampled cell by cell, only what is missing."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from morlaif_core import Message, Prompt, ScoreMatrix, UserError, content_hash, make_prompt

if TYPE_CHECKING:
    from morlaif_core import Workbench

FILE = "responses.jsonl"
FORMAT = 1
PROMPTS = 200
"""Prompts where the user says nothing."""
CHUNK = 32
"""Prompts of a cell."""
ROUND = 4
"""Responses of a cell to each of its prompts. Cells are fixed and whole, so that a file that grew in steps, or through
kills, has the rows of one that was made at once."""
Place: TypeAlias = tuple[int, int]
"""A cell's place: which chunk of prompts, which round of responses."""


@dataclass(frozen=True)
class Cell:
    """Prompts of a chunk, and ROUND responses to each of them."""

    prompts: tuple[Prompt, ...]
    responses: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Sampled:
    """m prompts with n scored responses each.

    Attributes:
        prompts: m.
        responses: by prompt, n each.
        scores: calibrated scores (m * n, k), prompt by prompt.
        reference: calibrated scores of the calibration responses.
        fingerprint: of all that responses and scores depend on, the seed among it.
    """

    prompts: tuple[Prompt, ...]
    responses: tuple[tuple[str, ...], ...]
    scores: ScoreMatrix
    reference: ScoreMatrix
    fingerprint: str


def sampled(bench: Workbench, folder: Path, prompts: int | None, responses: int, seed: int) -> Sampled:
    """Return scored responses of the RL set's first prompts; what is missing is sampled and scored first.

    Args:
        bench: the run.
        folder: where the files lie; made where it is not there.
        prompts: how many; None: 200, or all of them where there are fewer.
        responses: of each prompt.
        seed: of the sampling.

    Raises:
        UserError: the set has fewer prompts, or the run has no preference models.
    """
    from .stored_scores import scored

    key = content_hash("preview", bench.fingerprint, seed, CHUNK, ROUND)
    cells, count = _sampled_cells(bench, folder, key, prompts, responses, seed)
    scores, reference = scored(bench, folder, key, cells, count, responses)
    rounds = range(ceil(responses / ROUND))
    rows: list[tuple[Prompt, tuple[str, ...]]] = []
    for chunk in range(ceil(count / CHUNK)):
        for place, prompt in enumerate(cells[chunk, 0].prompts):
            texts = [text for number in rounds for text in cells[chunk, number].responses[place]]
            rows.append((prompt, tuple(texts[:responses])))
    asked, answers = zip(*rows[:count], strict=True)
    return Sampled(asked, answers, scores, reference, key)


def places(prompts: int, responses: int) -> list[Place]:
    """The cells that hold so many prompts and responses."""
    return [(chunk, number) for chunk in range(ceil(prompts / CHUNK)) for number in range(ceil(responses / ROUND))]


def _sampled_cells(
    bench: Workbench, folder: Path, key: str, wanted: int | None, responses: int, seed: int
) -> tuple[dict[Place, Cell], int]:
    """All cells that are there, with those that were missing, and how many prompts there will be."""
    file = folder / FILE
    set_size, cells = read_cells(file, key)
    if file.exists() and set_size is None:
        _set_aside(bench, folder)
    count = min(PROMPTS, set_size or 0) if wanted is None else wanted
    if set_size is not None and count <= set_size and all(place in cells for place in places(count, responses)):
        return cells, count  # without a look at the prompt set, for which the target's tokenizer would be loaded
    prompts = bench.prompts("rl")
    count = min(PROMPTS, len(prompts)) if wanted is None else wanted
    if count > len(prompts):
        raise UserError(
            f"--prompts {count}: the run's RL set has {len(prompts)}; say --prompts {len(prompts)} or fewer"
        )
    chunks = {chunk: prompts[chunk * CHUNK : (chunk + 1) * CHUNK] for chunk in range(ceil(len(prompts) / CHUNK))}
    if set_size is not None and (
        set_size != len(prompts) or any(cell.prompts != chunks[place[0]] for place, cell in cells.items())
    ):
        _set_aside(bench, folder)
        set_size, cells = None, {}
    if set_size is None:
        folder.mkdir(parents=True, exist_ok=True)
        _append(file, {"format": FORMAT, "key": key, "prompts": len(prompts)})
    missing = [place for place in places(count, responses) if place not in cells]
    bench.say(f"sampling {sum(len(chunks[chunk]) for chunk, _ in missing) * ROUND:,} responses")
    with bench.bar("sample") as bar:
        for done, (chunk, number) in enumerate(missing, 1):
            asked = chunks[chunk]
            drawn = bench.sample(asked, n=ROUND, seed=int(content_hash("preview", seed, number)[:8], 16))
            cell = cells[chunk, number] = Cell(asked, tuple(tuple(row) for row in drawn))
            _append(file, _row((chunk, number), cell))
            bar(done, len(missing))
    return cells, count


def read_cells(file: Path, key: str) -> tuple[int | None, dict[Place, Cell]]:
    """Read what is stored under a key: how many prompts the set has, and the cells; (None, {}) for another key.

    A last line that a kill tore is cut off.
    """
    if not file.exists():
        return None, {}
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)
    try:
        header, *rows = [json.loads(line) for line in content[:whole].splitlines()]
        if header["format"] != FORMAT or header["key"] != key:
            return None, {}
        return int(header["prompts"]), {(row["chunk"], row["round"]): _cell(row) for row in rows}
    except (ValueError, KeyError, TypeError):
        return None, {}  # not a file of ours, or damaged


def _cell(row: dict[str, Any]) -> Cell:
    prompts = (make_prompt([Message(**turn) for turn in item["messages"]]) for item in row["rows"])
    return Cell(tuple(prompts), tuple(tuple(item["responses"]) for item in row["rows"]))


def _row(place: Place, cell: Cell) -> dict[str, Any]:
    rows = [
        {"prompt": prompt.id, "messages": [vars(turn) for turn in prompt.messages], "responses": responses}
        for prompt, responses in zip(cell.prompts, cell.responses, strict=True)
    ]
    return {"chunk": place[0], "round": place[1], "rows": rows}


def _append(file: Path, row: dict[str, Any]) -> None:
    """Add a line, on the disk when this returns."""
    with file.open("ab") as out:
        out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def _set_aside(bench: Workbench, folder: Path) -> None:
    """Move the folder to RUN/replaced/TIME/, where all goes that is made anew."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    away = folder.parent / "replaced" / stamp / folder.name
    while away.exists():
        number += 1
        away = folder.parent / "replaced" / f"{stamp}-{number}" / folder.name
    away.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(away)
    bench.say(f"{folder} is of another seed or of models made since: moved to {away}")
