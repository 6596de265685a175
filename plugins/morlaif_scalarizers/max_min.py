"""The worst principle decides: `max_min`."""

from __future__ import annotations

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms


def max_min(scores: ScoreMatrix, terms: Terms) -> Floats:
    """Return each row's smallest margin over the thresholds.

    Formula: ``u = min_k (r_k - tau_k)``.

    Source: "worst-case" in Williams, arXiv 2406.07295; worst-case optimisation (WCO), ``min_i R_i`` over reward models,
    of Coste et al., arXiv 2310.02743, here over principles and with thresholds.

    Range: ``[min_k (lo_k - tau_k), min_k (hi_k - tau_k)]``; above 0 where every principle passes its threshold.

    Trap: the minimum within each response is not the minimum of the principles' means (MaxMin-RLHF, arXiv 2402.08925;
    here ``reward.utility: expected``).

    Leaves out: weights, because the minimum of ``w_k r_k`` changes its meaning with the sign of ``r_k``.

    Args:
        scores: calibrated scores, values (n, k) float32.
        terms: threshold (k,) is used.

    Returns:
        (n,) float32.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> max_min(make_scores([[1.0, -1.0], [0.5, 2.0]]), make_terms(threshold=[0.0, 0.5])).tolist()
    [-1.5, 0.5]
    """
    margins = scores.values.astype(np.float64) - terms.threshold.astype(np.float64)
    u: Floats = np.min(margins, axis=1).astype(np.float32)
    return u
