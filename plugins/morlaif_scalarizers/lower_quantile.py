"""The mean of the lowest scores: `LowerQuantile`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms


@dataclass(frozen=True)
class LowerQuantile:
    """The mean of the lowest part of each row's scores.

    Formula: ``u = mean of the ceil(q k) lowest r_k`` of the row, of one at least.

    Source: "lower quantile" in Williams, arXiv 2406.07295, with q = 1/3; the conditional value at risk over principles
    (Rockafellar and Uryasev, "Optimization of conditional value-at-risk", 2000).

    Range: from the minimum (a small q) to the mean (q = 1) of the row.

    Traps: the sort is along the principles, never along the samples; with fewer than ``1 / q`` principles it is the
    minimum.

    Leaves out: weights; and CVaR's partial count of the score at the quantile: all ceil(q k) scores count in full.

    Attributes:
        q: share of the principles, in (0, 1].

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> LowerQuantile(q=0.5)(make_scores([[3.0, -1.0, 0.0, 1.0]]), make_terms(k=4)).tolist()
    [-0.5]
    """

    q: float = 1 / 3

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; no term is used."""
        r = scores.values.astype(np.float64)
        # 1/3 of 3 is one principle, whatever rounding says, and so is the tiniest share.
        lowest = max(1, math.ceil(self.q * r.shape[1] - 1e-9))
        u: Floats = np.mean(np.sort(r, axis=1)[:, :lowest], axis=1).astype(np.float32)
        return u
