"""Deviations that are taken off uncertain scores before the scalarizer: `pessimistic`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from morlaif_core.types import ScoreMatrix

from .score_checks import ScoreError
from .soft_clip import soft_clip, undo_soft_clip


def pessimistic(scores: ScoreMatrix, deviations: float, clip: float, principles: Collection[str]) -> ScoreMatrix:
    """Return calibrated scores less so many deviations of each, ``c tanh((z - pessimism * spread) / c)``.

    z is the score before the soft clip c, so that what comes out lies within it and a certain score stays what it was. This
    is the lower confidence bound that Coste et al., arXiv 2310.02743, take of an ensemble, for each principle by itself.
    Leaves out: the worst member, of which the spread does not tell.

    Args:
        scores: calibrated (n, k), with `spread` in calibrated units.
        deviations: how many, >= 0; 0 changes nothing.
        clip: c > 0.
        principles: those that count; the others' scores stay.

    Raises:
        ScoreError: there is no spread of a score that counts.
    """
    import numpy as np

    if deviations == 0:
        return scores
    counted = np.array([name in principles for name in scores.principles])
    known = ~np.isnan(scores.values) & counted
    if scores.spread is None or np.isnan(scores.spread[known]).any():
        raise ScoreError(
            "reward.pessimism needs a spread of every score that counts, and the preference models give none; leave it at 0"
        )
    spread = np.where(counted, scores.spread.astype(np.float64), 0.0)
    lower = soft_clip(undo_soft_clip(scores.values, clip) - deviations * spread, clip).astype(np.float32)
    return replace(scores, values=np.where(counted, lower, scores.values))
