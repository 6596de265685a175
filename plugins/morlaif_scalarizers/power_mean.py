"""Power means of the chances to pass, a family of welfare functions: `PowerMean`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .logistic import log_sigmoid, log_sum_exp

NEARLY_ZERO = 1e-6
"""Exponents nearer to 0 than this are 0: the difference is below float32, and 1 / p would only blow up rounding."""


@dataclass(frozen=True)
class PowerMean:
    """The weighted power mean of each row's scores, squashed into (0, 1).

    Formula, with b the thresholds and T the temperature, computed in log space::

        u = (sum_k w_k s_k^p)^(1/p),  s_k = sigma((r_k - b_k) / T);  p = 0: exp(sum_k w_k log s_k)

    Source: power means as social welfare functions (Moulin, "Fair Division and Collective Welfare", 2003).

    Range: (0, 1), between the smallest and the greatest ``s_k``. p = 1 is the mean, p = 0 the geometric one (Nash), p =
    -1 the harmonic one; p -> -inf the minimum.

    Traps: p = 1 is the mean of s, not of r; p = 0 is a case of its own, and so is a p of nearly 0; powers of small
    numbers underflow outside log space.

    Leaves out: p of minus infinity, because its order is that of `max_min`.

    Attributes:
        p: the exponent; the smaller, the more the worst principle decides.
        temperature: T > 0, in calibrated units.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores, terms = make_scores([[0.0, 0.0], [2.0, -2.0]]), make_terms(weight=[1, 1])
    >>> PowerMean(p=-1)(scores, terms).round(3)  # the second: 1 / (0.5 / 0.881 + 0.5 / 0.119)
    array([0.5 , 0.21], dtype=float32)
    """

    p: float = -1.0
    temperature: float = 1.0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; weight and threshold (k,) are used."""
        w = terms.weight.astype(np.float64)
        w /= np.sum(w)  # a sum of 1 + 1e-7, as float32 leaves it, would be raised to the power 1 / p
        margins = (scores.values.astype(np.float64) - terms.threshold.astype(np.float64)) / self.temperature
        logs = log_sigmoid(margins)
        if abs(self.p) < NEARLY_ZERO:
            return np.asarray(np.exp(np.sum(w * logs, axis=1)), dtype=np.float32)
        return np.asarray(np.exp(log_sum_exp(self.p * logs, w) / self.p), dtype=np.float32)
