"""Which principle decided a reward: derivatives of any row-wise scalarizer, third-party ones too, by finite differences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.types import Explanation, Floats, ScoreMatrix, Terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEP = 0.01
"""In calibrated units: far above float32's rounding of a score, far below any threshold's width."""
LEVEL = 1e-3
"""Slopes that differ by less than this share of the larger are level."""


def explain(
    scalarizer: Scalarizer, scores: ScoreMatrix, terms: Terms, weights: NDArray[np.float64] | None = None
) -> Explanation:
    """Say which principle decided each row. Leaves out: shares of the whole reward (Shapley values), which take 2^k rows
    for a response where differences take 2 k.

    Args:
        scalarizer: a row-wise one; where rows of a group are compared, no principle alone decides a row.
        scores: its columns, calibrated, values (n, k) float32.
        terms: theirs.
        weights: (k,) of a scalarizer that is linear in the scores and knows them; None: differences are taken.
    """
    import numpy as np

    if weights is None:
        influence = gradient(scalarizer, scores, terms)
    else:
        # A copy, since a broadcast view is read-only.
        influence = np.broadcast_to(weights.astype(np.float32), scores.values.shape).copy()
    # Level to within the rounding of the differences: the first one, whatever the last bit says. Relative to the
    # row's largest: far beyond a threshold every slope is small, and one is still the larger.
    size = np.abs(influence)
    best = np.argmax(size >= (1 - LEVEL) * size.max(axis=1, keepdims=True), axis=1) if size.shape[1] else []
    decided = tuple(scores.principles[int(place)] for place in best)
    return Explanation(scores.principles, influence, decided, scores.values)


def gradient(scalarizer: Scalarizer, scores: ScoreMatrix, terms: Terms) -> Floats:
    """Return du / dr (n, k) float32 by central differences, all of them in one call; 0 where u moves by no more than
    float32 rounds it."""
    import numpy as np

    values = scores.values.astype(np.float64)
    n, k = values.shape
    shifts = STEP * np.concatenate([np.eye(k), -np.eye(k)])
    moved = (values[None, :, :] + shifts[:, None, :]).astype(np.float32)
    repeated = replace(
        scores,
        values=moved.reshape(2 * k * n, k),
        prompt_ids=scores.prompt_ids * (2 * k),
        spread=None if scores.spread is None else np.tile(scores.spread, (2 * k, 1)),
        features=None if scores.features is None else np.tile(scores.features, (2 * k, 1)),
    )
    # Central, so that at a kink, as of `min`, both sides count alike; one call, since each may be slow.
    u = np.asarray(scalarizer(repeated, terms), dtype=np.float64).reshape(2, k, n)
    # The step that float32 really took, not the one that was asked for.
    taken = np.stack([moved[place, :, place] - moved[k + place, :, place].astype(np.float64) for place in range(k)])
    moved_by = u[0] - u[1]
    # A flat scalarizer must read as 0, not as its last bit over the step.
    rounding = np.spacing(np.abs(u).max(axis=0).astype(np.float32))
    return (np.where(np.abs(moved_by) <= rounding, 0.0, moved_by) / taken).T.astype(np.float32)
