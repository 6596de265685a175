"""The weighted sum of scores: `weighted`."""

from __future__ import annotations

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms


def weighted(scores: ScoreMatrix, terms: Terms) -> Floats:
    """Return the weighted mean of each row's scores.

    Formula: ``u = sum_k w_k r_k`` with ``w_k >= 0`` and ``sum_k w_k = 1``.

    Source: the linear scalarization of Williams, "Multi-objective Reinforcement learning from AI Feedback",
    arXiv 2406.07295: "linear".

    Range: between the least and the greatest ``r_k`` of the row, so within the clip range.

    Trap: it reaches only the convex part of the Pareto front, however the weights are chosen; and weights fitted on
    scores of another scale mean something else here: fold that scale into them first.

    Leaves out: standardising the scores, because calibration has done it before any scalarizer.

    Args:
        scores: calibrated scores, values (n, k) float32.
        terms: weight (k,) is used.

    Returns:
        (n,) float32.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> terms = make_terms(weight=[3, 1])  # scaled to 0.75 and 0.25
    >>> weighted(make_scores([[1.0, -1.0], [0.0, 2.0]]), terms).tolist()
    [0.5, 0.5]
    """
    # A sum along each row, not a matrix product: BLAS may round a row differently in a batch of another size.
    products = scores.values.astype(np.float64) * terms.weight.astype(np.float64)
    u: Floats = np.sum(products, axis=1).astype(np.float32)
    return u
