"""Scores of the previewed responses, kept in RUN/preview/scores.npz: only cells that have none are scored."""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from morlaif_core import ScoreMatrix

from .samples import CHUNK, ROUND, Cell, Place, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from morlaif_core import Workbench

    Arrays: TypeAlias = dict[str, NDArray[Any]]

FILE = "scores.npz"
FORMAT = 1
SAVE_EVERY = 20.0
"""Seconds of scoring that a kill may cost."""
PARTS = ("values", "spread", "features")
"""The arrays of a `ScoreMatrix`; the last two are stored where the preference models supply them."""


def scored(
    bench: Workbench, folder: Path, key: str, cells: Mapping[Place, Cell], prompts: int, responses: int
) -> tuple[ScoreMatrix, ScoreMatrix]:
    """Return the scores of m prompts' n responses, (m * n, k), and those of the calibration responses.

    Args:
        bench: the run, whose preference models are loaded where a score is missing.
        folder: where scores.npz lies.
        key: what responses and scores depend on; scores under another key do not count.
        cells: the responses.
        prompts, responses: m and n; the cells have them.
    """
    principles = tuple(item.name for item in bench.principles)
    stored = _read(folder / FILE, key, principles)
    sums = checksums(cells)
    grid = _grown(stored, sums)
    missing = [place for place in places(prompts, responses) if not _has(grid, sums, place, cells[place])]
    if missing or "reference" not in stored:
        grid |= {name: stored[name] for name in ("reference", "reference_prompts") if name in stored}
        if "reference" not in grid:
            reference = bench.reference()
            grid |= {"reference": reference.values, "reference_prompts": np.array(reference.prompt_ids)}
        fixed = {"format": np.array(FORMAT), "key": np.array(key), "principles": np.array(principles)}
        _score(bench, folder / FILE, grid, fixed, cells, sums, missing)
        stored = grid
    ids = [prompt.id for chunk in range(-(-prompts // CHUNK)) for prompt in cells[chunk, 0].prompts][:prompts]

    def rows(name: str) -> Any:
        return grid[name][:prompts, :responses].reshape(prompts * responses, -1) if name in grid else None

    repeated = tuple(name for name in ids for _ in range(responses))
    scores = ScoreMatrix(rows("values"), principles, repeated, rows("spread"), rows("features"))
    reference_ids = tuple(str(name) for name in stored["reference_prompts"])
    return scores, ScoreMatrix(stored["reference"], principles, reference_ids)


def checksums(cells: Mapping[Place, Cell]) -> NDArray[np.int64]:
    """Return a checksum of each response (prompts, responses); -1 where none is sampled."""
    chunks = 1 + max(chunk for chunk, _ in cells)
    rounds = 1 + max(number for _, number in cells)
    sums = np.full((chunks * CHUNK, rounds * ROUND), -1, dtype=np.int64)
    for (chunk, number), cell in cells.items():
        block = [[zlib.crc32(text.encode()) for text in row] for row in cell.responses]
        sums[_block(chunk, number, len(cell.prompts))] = block
    return sums


def _block(chunk: int, number: int, prompts: int) -> tuple[slice, slice]:
    start = chunk * CHUNK
    return slice(start, start + prompts), slice(number * ROUND, (number + 1) * ROUND)


def _read(file: Path, key: str, principles: tuple[str, ...]) -> Arrays:
    """What is stored under a key; empty where nothing is, or what is there cannot be read."""
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as content:
            stored = {name: content[name] for name in content.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # damaged: scored anew
    same = (
        int(stored.get("format", 0)) == FORMAT
        and str(stored.get("key")) == key
        and tuple(stored.get("principles", ())) == principles
    )
    return stored if same else {}


def _grown(stored: Mapping[str, NDArray[Any]], sums: NDArray[np.int64]) -> Arrays:
    """The stored arrays, as large as all that is sampled; NaN where there is no score."""
    if "values" not in stored:
        return {}
    rows, columns = (min(a, b) for a, b in zip(stored["checksums"].shape, sums.shape, strict=True))
    grid: Arrays = {"checksums": np.full(sums.shape, -1, dtype=np.int64)}
    grid["checksums"][:rows, :columns] = stored["checksums"][:rows, :columns]
    for name in PARTS:
        if name in stored:
            grid[name] = np.full((*sums.shape, stored[name].shape[2]), np.nan, dtype=np.float32)
            grid[name][:rows, :columns] = stored[name][:rows, :columns]
    return grid


def _has(grid: Arrays, sums: NDArray[np.int64], place: Place, cell: Cell) -> bool:
    """Say whether a cell has scores, of the very responses that are stored now."""
    if "values" not in grid:
        return False
    block = _block(*place, len(cell.prompts))
    return bool(np.array_equal(grid["checksums"][block], sums[block]) and not np.isnan(grid["values"][block]).any())


def _score(
    bench: Workbench,
    file: Path,
    grid: Arrays,
    fixed: Arrays,
    cells: Mapping[Place, Cell],
    sums: NDArray[np.int64],
    missing: list[Place],
) -> None:
    """Score the missing cells into the grid, and save it now and then and at the end."""
    bench.say(f"scoring {sum(len(cells[place].prompts) for place in missing) * ROUND:,} responses")
    saved = time.monotonic()
    with bench.bar("score") as bar:
        for done, place in enumerate(missing, 1):
            _score_cell(bench, grid, cells, sums, place)
            bar(done, len(missing))
            if time.monotonic() - saved > SAVE_EVERY:
                _save(file, {**fixed, **grid})
                saved = time.monotonic()
    _save(file, {**fixed, **grid})


def _score_cell(
    bench: Workbench, grid: Arrays, cells: Mapping[Place, Cell], sums: NDArray[np.int64], place: Place
) -> None:
    """Score a cell. Equal responses of a prompt are scored once, so that they are equal in every digit."""
    chunk, number = place
    first: dict[tuple[int, str], tuple[int, int]] = {}
    for earlier in range(number + 1):
        for row, texts in enumerate(cells[chunk, earlier].responses):
            for column, text in enumerate(texts):
                first.setdefault((row, text), (chunk * CHUNK + row, earlier * ROUND + column))
    cell = cells[place]
    own = [(row, text) for (row, text), (_, column) in first.items() if column >= number * ROUND]
    if own:
        fresh = bench.scores([cell.prompts[row] for row, _ in own], [text for _, text in own])
        for name in PARTS:
            part = getattr(fresh, name)
            if part is not None:
                if name not in grid:
                    grid[name] = np.full((*sums.shape, part.shape[1]), np.nan, dtype=np.float32)
                for item, values in zip(own, part, strict=True):
                    grid[name][first[item]] = values
    for row, texts in enumerate(cell.responses):
        for column, text in enumerate(texts, number * ROUND):
            for name in PARTS:
                if name in grid:
                    grid[name][chunk * CHUNK + row, column] = grid[name][first[row, text]]
    block = _block(chunk, number, len(cell.prompts))
    grid.setdefault("checksums", np.full(sums.shape, -1, dtype=np.int64))[block] = sums[block]


def _save(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
