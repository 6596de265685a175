"""The median principle decides: `max_median`."""

from __future__ import annotations

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms


def max_median(scores: ScoreMatrix, terms: Terms) -> Floats:
    """Return each row's median score.

    Formula: ``u = median_k r_k``; for an even number of principles the mean of the two in the middle.

    Source: "max-median" in Williams, arXiv 2406.07295.

    Range: within the row's scores.

    Trap: the lower of the two in the middle, which some libraries call the median, is another scalarizer.

    Leaves out: weights, because the source's median has none.

    Args:
        scores: calibrated scores, values (n, k) float32.
        terms: none is used.

    Returns:
        (n,) float32.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> max_median(make_scores([[3.0, -1.0, 0.0, 1.0], [2.0, 2.0, -3.0, 0.0]]), make_terms(k=4)).tolist()
    [0.5, 1.0]
    """
    u: Floats = np.median(scores.values.astype(np.float64), axis=1).astype(np.float32)
    return u
