"""Scores made comparable within a group before they are added up: `NormalizeThenSum`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .groups import group_index, standardised_in_group


@dataclass(frozen=True)
class NormalizeThenSum:
    """The weighted sum of scores that are standardised within each prompt's group, whitened over the batch.

    Formula, means and population deviations of a group g, then of the batch::

        v = sum_k w_k (r_k - mean_g r_k) / (std_g r_k + eps)
        u = (v - mean v) / (std v + eps)

    Source: GDPO (decoupled normalization) of Liu et al., arXiv 2601.05242.

    Range: about mean 0 and deviation 1 over the batch.

    Traps: groups of one give 0, groups of two about plus and minus one, however small the difference; where a principle
    hardly differs within a group, its noise is blown up: that is what ``eps`` bounds.

    Leaves out: thresholds, because a constant that is taken off all scores of a group cancels.

    Attributes:
        eps: added to every deviation, > 0, in calibrated units.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores = make_scores([[1.0, 0.0], [3.0, 0.0]], group=2)
    >>> NormalizeThenSum()(scores, make_terms(k=2)).round(2).tolist()
    [-1.0, 1.0]
    """

    eps: float = 1e-4

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32 and their groups; weight (k,) is used."""
        if not len(scores.prompt_ids):
            # The mean over no rows would be NaN, with a warning.
            return np.zeros(0, dtype=np.float32)
        scaled = standardised_in_group(scores.values.astype(np.float64), group_index(scores.prompt_ids), self.eps)
        v = np.sum(terms.weight.astype(np.float64) * scaled, axis=1)
        u: Floats = ((v - v.mean()) / (v.std() + self.eps)).astype(np.float32)
        return u
