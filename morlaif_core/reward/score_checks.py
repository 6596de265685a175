"""Checks of score matrices that every step from raw scores to rewards shares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from morlaif_core.errors import RunFailed
from morlaif_core.types import Ints, ScoreMatrix


class ScoreError(RunFailed, ValueError):
    """Scores that cannot be used: NaN, a missing principle, a wrong shape. The message names principle and row."""


def select(scores: ScoreMatrix, principles: tuple[str, ...]) -> ScoreMatrix:
    """Return the columns of these principles, in this order. Raises `ScoreError` for a missing one or a wrong shape."""
    n, k = len(scores.prompt_ids), len(scores.principles)
    if scores.values.shape != (n, k):
        raise ScoreError(f"scores have shape {scores.values.shape}, but there are {n} prompt ids and {k} principles")
    missing = [name for name in principles if name not in scores.principles]
    if missing or len(set(scores.principles)) != k:
        wrong = f"no scores of {', '.join(missing)}" if missing else "scores of a principle twice"
        raise ScoreError(f"there are {wrong}; there are those of: {', '.join(scores.principles)}")
    if principles == scores.principles:
        return scores
    columns = [scores.principles.index(name) for name in principles]
    spread = None if scores.spread is None else scores.spread[:, columns]
    return replace(scores, values=scores.values[:, columns], principles=principles, spread=spread)


def scored_rows(scores: ScoreMatrix) -> Ints:
    """Return the numbers of the rows with a score under every principle: NaN is a score that failed."""
    import numpy as np

    return np.flatnonzero(~np.isnan(scores.values).any(axis=1))


def check_scores(scores: ScoreMatrix) -> None:
    """Raise `ScoreError` for an infinite score, and for a principle under which every row failed (NaN)."""
    import numpy as np

    whole = np.isnan(scores.values).all(axis=0)
    # A single one that failed may be the text's fault; all of them are the model's.
    check_finite(scores, failed=not (len(scores.values) and whole.any()))


def check_finite(scores: ScoreMatrix, *, failed: bool = False) -> None:
    """Raise `ScoreError` naming principle and row where a score is infinite or, unless failed ones may be, NaN."""
    import numpy as np

    bad = np.argwhere(np.isinf(scores.values) if failed else ~np.isfinite(scores.values))
    if len(bad):
        row, column = bad[0]
        raise ScoreError(
            f"the score of principle {scores.principles[column]} in row {row} (prompt {scores.prompt_ids[row]}) is "
            f"{scores.values[row, column]}, {len(bad)} such scores in all; its preference model cannot be used"
        )


def read_json(path: Path, version: int) -> dict[str, Any]:
    """Read a JSON object of ours. Raises `RunFailed` where it is missing, damaged or of another format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFailed(f"{path} is missing; run the stage train-pms") from None
    except ValueError as error:
        raise RunFailed(f"{path} is damaged ({error}); delete it and run train-pms again") from None
    if not isinstance(content, dict) or content.get("format") != version:
        raise RunFailed(f"{path} is of another format than this version reads (format {version})")
    return content
