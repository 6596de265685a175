"""A smooth minimum: `SoftMaxMin`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .logistic import log_sum_exp


@dataclass(frozen=True)
class SoftMaxMin:
    """The smooth minimum of each row's scores.

    Formula, with T the temperature::

        u = -T log sum_k w_k exp(-r_k / T)

    Source: the log-sum-exp smoothing of a minimum. With ``boltzmann`` the form that Williams, arXiv 2406.07295, uses:
    ``u = sum_k softmax_k(log w - r / T) r_k``.

    Range: ``min_k r_k <= u <= sum_k w_k r_k``; T -> 0 gives the minimum, a large T the weighted mean.

    Trap: the Boltzmann form is not monotone: a better score loses weight, and the row may lose by it (in about half of
    the cases at twelve principles). It is there to reproduce the paper.

    Leaves out: thresholds (`max_min` has them), and a temperature that moves by itself: ``reward.schedules`` moves it.

    Attributes:
        temperature: T > 0, in calibrated units.
        boltzmann: take the paper's form.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores, terms = make_scores([[1.0, 1.0], [-1.0, 3.0]]), make_terms(weight=[1, 1])
    >>> SoftMaxMin(temperature=0.5)(scores, terms).round(3)  # the second: -0.5 log(0.5 e^2 + 0.5 e^-6)
    array([ 1.   , -0.654], dtype=float32)
    """

    temperature: float = 1.0
    boltzmann: bool = False

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; weight (k,) is used."""
        r = scores.values.astype(np.float64)
        w = terms.weight.astype(np.float64)
        w /= np.sum(w)  # T times the logarithm of 1 + 1e-7, as float32 leaves the sum, is no small shift at a large T
        if self.boltzmann:
            from scipy.special import softmax

            u = np.sum(softmax(np.log(w) - r / self.temperature, axis=1) * r, axis=1)
        else:
            u = -self.temperature * log_sum_exp(-r / self.temperature, w)
        return np.asarray(u, dtype=np.float32)
