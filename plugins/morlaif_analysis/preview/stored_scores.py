"""Scores of the previewed responses, kept in RUN/preview/scores.npz: only what has none is scored."""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from morlaif_core import ScoreMatrix, ended, response_key

from .stored_responses import ROUND, Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from morlaif_core import Workbench

    Arrays: TypeAlias = dict[str, NDArray[Any]]

FILE = "scores.npz"
FORMAT = 2
SAVE_EVERY = 20.0
"""Seconds of scoring that a kill may cost."""
PARTS = ("values", "spread", "features")
"""The arrays of a `ScoreMatrix`; the last two are stored where the preference models supply them."""


def scored(
    bench: Workbench,
    folder: Path,
    key: str,
    responses: Stored,
    groups: Sequence[Sequence[str]],
    m: int,
    n: int,
) -> tuple[ScoreMatrix, ScoreMatrix]:
    """Return the scores of m prompts' n responses, (m * n, k), and those of the calibration responses.

    Args:
        bench: the run, whose preference models are loaded where a score is missing.
        folder: where scores.npz lies.
        key: what responses and scores depend on; scores under another key do not count.
        responses: of these prompts, and maybe of others.
        groups: ids of the prompts whose scores are wanted, in the batches that are scored together; the first m count.
        m, n: how many prompts and responses.
    """
    principles = tuple(item.name for item in bench.principles)
    stored = _read(bench, folder / FILE, key, principles)
    sums, row = checksums(responses), {name: place for place, name in enumerate(responses.prompts)}
    grid = _grown(stored, row, sums)
    missing = _missing(grid, sums, row, groups, n)
    if missing or "reference" not in stored:
        grid |= {name: stored[name] for name in ("reference", "reference_prompts") if name in stored}
        if "reference" not in grid:
            reference = bench.reference()
            grid |= {"reference": reference.values, "reference_prompts": np.array(reference.prompt_ids)}
        fixed = {"format": np.array(FORMAT), "key": np.array(key), "principles": np.array(principles)}
        fixed["prompts"] = np.array(list(row))
        _score(bench, folder / FILE, grid, fixed, responses, sums, row, missing)
        stored = grid
    ids = [name for group in groups for name in group][:m]
    places = [row[name] for name in ids]

    def rows(part: str) -> Any:
        return grid[part][places, :n].reshape(m * n, -1) if part in grid else None

    repeated = tuple(name for name in ids for _ in range(n))
    scores = ScoreMatrix(rows("values"), principles, repeated, rows("spread"), rows("features"))
    reference_ids = tuple(str(name) for name in stored["reference_prompts"])
    return scores, ScoreMatrix(stored["reference"], principles, reference_ids)


def checksums(responses: Stored) -> NDArray[np.int64]:
    """Return a checksum of each response (prompts, responses), prompts in their stored order; -1 where none is."""
    rounds = 1 + max(number for _, number in responses.responses)
    sums = np.full((len(responses.prompts), rounds * ROUND), -1, dtype=np.int64)
    for row, name in enumerate(responses.prompts):
        for number in range(rounds):
            texts = responses.responses.get((name, number))
            if texts is not None:
                # Checksums of texts: a damaged cell is sampled anew, and old scores must not pass for its own.
                sums[row, _columns(number)] = [_checksum(text) for text in texts]
    return sums


def _checksum(text: str) -> int:
    """Return a number >= 0 of a response that ended, one below -1 of one that was cut off."""
    plain = zlib.crc32(text.encode())
    return plain if ended(text) else -2 - plain


def _columns(number: int) -> slice:
    """The columns of a round."""
    return slice(number * ROUND, (number + 1) * ROUND)


def _read(bench: Workbench, file: Path, key: str, principles: tuple[str, ...]) -> Arrays:
    """What is stored under a key; empty where nothing is, or what is there cannot be read."""
    if not file.exists():
        return {}
    try:
        # No pickle, which could run code.
        with np.load(file, allow_pickle=False) as content:
            stored = {name: content[name] for name in content.files}
        if int(stored["format"]) == FORMAT:
            _check_shapes(stored, len(stored["principles"]))
        same = (int(stored["format"]), str(stored["key"]), tuple(stored["principles"])) == (FORMAT, key, principles)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        bench.say(f"{file} is damaged: responses are scored anew")
        return {}
    return stored if same else {}


def _check_shapes(stored: Mapping[str, NDArray[Any]], k: int) -> None:
    """Raise ValueError or KeyError where arrays are missing or do not fit together."""
    sums, reference = stored["checksums"], stored["reference"]
    fits = (
        sums.ndim == 2
        and stored["prompts"].shape == sums.shape[:1]
        and stored["values"].shape == (*sums.shape, k)
        and all(stored[part].ndim == 3 and stored[part].shape[:2] == sums.shape for part in PARTS if part in stored)
        and reference.shape == (len(stored["reference_prompts"]), k)
        and np.isfinite(reference).all()
    )
    if not fits:
        raise ValueError("arrays do not fit together")


def _grown(stored: Mapping[str, NDArray[Any]], row: Mapping[str, int], sums: NDArray[np.int64]) -> Arrays:
    """The stored arrays in the rows and columns of all that is sampled; NaN where there is no score."""
    if "values" not in stored:
        return {}
    known = [(old, row[name]) for old, name in enumerate(map(str, stored["prompts"])) if name in row]
    old, new = np.array(known, dtype=np.int64).reshape(-1, 2).T
    columns = min(stored["checksums"].shape[1], sums.shape[1])
    grid: Arrays = {"checksums": np.full(sums.shape, -1, dtype=np.int64)}
    grid["checksums"][new, :columns] = stored["checksums"][old, :columns]
    for name in PARTS:
        if name in stored:
            grid[name] = np.full((*sums.shape, stored[name].shape[2]), np.nan, dtype=np.float32)
            grid[name][new, :columns] = stored[name][old, :columns]
    return grid


def _missing(
    grid: Arrays, sums: NDArray[np.int64], row: Mapping[str, int], groups: Sequence[Sequence[str]], n: int
) -> list[tuple[list[str], int]]:
    """Which prompts of each group lack scores of the very responses that are stored now, by round."""
    found = [
        ([name for name in group if not _has(grid, sums, row[name], number)], number)
        for group in groups
        for number in range(ceil(n / ROUND))
    ]
    return [(lacking, number) for lacking, number in found if lacking]


def _has(grid: Arrays, sums: NDArray[np.int64], row: int, number: int) -> bool:
    if "values" not in grid:
        return False
    # By the checksums alone: a score that is NaN failed, and would again.
    block = row, _columns(number)
    return bool(np.array_equal(grid["checksums"][block], sums[block]))


def _score(
    bench: Workbench,
    file: Path,
    grid: Arrays,
    fixed: Arrays,
    responses: Stored,
    sums: NDArray[np.int64],
    row: Mapping[str, int],
    missing: list[tuple[list[str], int]],
) -> None:
    """Score the missing cells into the grid, and save it now and then and at the end."""
    bench.say(f"scoring {sum(len(names) for names, _ in missing) * ROUND:,} responses")
    saved = time.monotonic()
    with bench.bar("score") as bar:
        for done, (names, number) in enumerate(missing, 1):
            _score_cell(bench, grid, responses, sums, row, names, number)
            bar(done, len(missing))
            if time.monotonic() - saved > SAVE_EVERY:
                _save(file, {**fixed, **grid})
                saved = time.monotonic()
    _save(file, {**fixed, **grid})


def _score_cell(
    bench: Workbench,
    grid: Arrays,
    responses: Stored,
    sums: NDArray[np.int64],
    row: Mapping[str, int],
    names: Sequence[str],
    number: int,
) -> None:
    """Score a round of these prompts. Equal responses of a prompt are scored once: they are equal in every digit."""
    first: dict[tuple[str, tuple[str, bool]], tuple[int, str]] = {}
    for earlier in range(number + 1):
        for name in names:
            for column, text in enumerate(responses.responses[name, earlier], earlier * ROUND):
                first.setdefault((name, response_key(text)), (column, text))
    own = [(name, column, text) for (name, _), (column, text) in first.items() if column >= number * ROUND]
    if own:
        fresh = bench.scores([responses.prompts[name] for name, _, _ in own], [text for _, _, text in own])
        for part in PARTS:
            values = getattr(fresh, part)
            if values is not None:
                if part not in grid:
                    grid[part] = np.full((*sums.shape, values.shape[1]), np.nan, dtype=np.float32)
                for (name, column, _), value in zip(own, values, strict=True):
                    grid[part][row[name], column] = value
    for name in names:
        for column, text in enumerate(responses.responses[name, number], number * ROUND):
            for part in PARTS:
                if part in grid:
                    grid[part][row[name], column] = grid[part][row[name], first[name, response_key(text)][0]]
    places = [row[name] for name in names]
    sums_there = grid.setdefault("checksums", np.full(sums.shape, -1, dtype=np.int64))
    sums_there[places, _columns(number)] = sums[places, _columns(number)]


def _save(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
        # On the disk before the rename, or a power cut could leave an empty file under the name.
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
