"""Scores that failed (NaN): their rows are counted and left out; too many of them are an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from morlaif_core import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FAILED = 0.5
"""Share of the rows: beyond it, what is left is another sample than what was asked for."""


def failed_rows(values: NDArray[Any], principles: Sequence[str], what: str) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which rows of values (n, k) lack a score, and under which principles how many do.

    what: the rows' name in messages. Raises `UserError` where more than half of them lack one.
    """
    missing = np.isnan(values)
    rows: NDArray[np.bool_] = missing.any(axis=1)
    counts = {name: int(count) for name, count in zip(principles, missing.sum(axis=0), strict=True) if count}
    if rows.mean() > MOST_FAILED:
        raise UserError(
            f"{rows.sum():,} of {len(rows):,} {what} have no score ({by_principle(counts)}), which is too many to go on "
            "without them; see why the preference models give NaN"
        )
    return rows, counts


def by_principle(counts: Mapping[str, int]) -> str:
    """Return ``toxicity 3, detail 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
