"""One principle after the other, each up to its threshold: `Lexicographic`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .logistic import sigmoid


@dataclass(frozen=True)
class Lexicographic:
    """The thresholded lexicographic order, made smooth.

    Formula, with principles in the order of their priority and T the temperature::

        u = sum_k prod_{j<k} sigma((r_j - tau_j) / T) x_k
        x_k = min(r_k, tau_k) - lo_k,  for the last principle x_K = r_K - lo_K

    A principle counts up to its threshold; what comes after it counts as far as all before have reached theirs.

    Source: the thresholded lexicographic order of Gabor, Kalmar and Szepesvari, "Multi-criteria Reinforcement
    Learning" (ICML 1998): compare ``min(r_k, tau_k)`` one k after the other, the last one whole. The sigmoids in place
    of its comparisons, which make it one smooth number for a response, are ours.

    Range: ``[0, sum_{k<K} (tau_k - lo_k) + hi_K - lo_K]`` for scores and thresholds within the clip range.

    Traps: without the shift by ``lo`` a negative later score makes it pay to keep an earlier principle bad. Priorities
    are distinct: the core has made one column of the principles that share one.

    Leaves out: the strict order, because two floats are hardly ever equal, so it never reaches the second principle.

    Attributes:
        temperature: T > 0, in calibrated units.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> terms = make_terms(priority=[1, 2], lower=-3.0, upper=3.0)
    >>> scores = make_scores([[-2.0, 3.0], [2.0, -3.0], [2.0, 1.0]])
    >>> Lexicographic(temperature=0.1)(scores, terms).round(3).tolist()  # 1 + 0, 3 + 0, 3 + 4
    [1.0, 3.0, 7.0]
    """

    temperature: float = 0.1

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; threshold, priority and lower (k,) are used."""
        order = np.argsort(terms.priority, kind="stable")
        r = scores.values.astype(np.float64)[:, order]
        tau, lower = terms.threshold.astype(np.float64)[order], terms.lower.astype(np.float64)[order]
        x = np.minimum(r, tau) - lower
        # Nothing comes after the last principle, so it counts beyond its threshold too.
        x[:, -1] = r[:, -1] - lower[-1]
        reached = np.cumprod(sigmoid((r - tau) / self.temperature), axis=1)
        reached = np.concatenate([np.ones_like(r[:, :1]), reached[:, :-1]], axis=1)
        u: Floats = np.sum(reached * x, axis=1).astype(np.float32)
        return u
