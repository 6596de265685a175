"""The mean less a penalty for disagreement: `UncertaintyWeighted`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms


@dataclass(frozen=True)
class UncertaintyWeighted:
    """The weighted mean less lambda times a standard deviation.

    Formula, over principles or, with ``ensemble``, over the members of each principle's ensemble::

        u = m - lambda sqrt(sum_k w_k (r_k - m)^2),  m = sum_k w_k r_k
        u = sum_k w_k (r_k - lambda spread_k)

    Source: uncertainty-weighted optimisation (UWO) of Coste et al., arXiv 2310.02743, which takes the mean and the
    spread (there the variance) over an ensemble of reward models of ONE objective: that is ``ensemble``. Across
    principles, as in Williams, arXiv 2406.07295, the spread is no uncertainty but the conflict between the principles.

    Range: at most ``m``; with one principle ``r`` itself.

    Trap: monotone only for ``lambda <= sqrt(w_min / (1 - w_min))``, which is ``1 / sqrt(k - 1)`` at equal weights.

    Leaves out: the variance as penalty, which the source takes, because it is not monotone for any lambda.

    Attributes:
        lam: lambda >= 0.
        ensemble: take the spread of each principle's ensemble.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> UncertaintyWeighted(lam=0.5)(make_scores([[1.0, 1.0], [0.0, 2.0]]), make_terms(weight=[1, 1])).tolist()
    [1.0, 0.5]
    """

    lam: float = 0.5
    ensemble: bool = False

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; weight (k,) is used."""
        r, w = scores.values.astype(np.float64), terms.weight.astype(np.float64)
        mean = np.sum(w * r, axis=1)
        if not self.ensemble:
            spread = np.sqrt(np.sum(w * (r - mean[:, None]) ** 2, axis=1))
        elif scores.spread is None:
            raise ValueError("uncertainty_weighted with ensemble needs the spread of an ensemble of preference models")
        else:
            spread = np.sum(w * scores.spread.astype(np.float64), axis=1)
        u: Floats = (mean - self.lam * spread).astype(np.float32)
        return u
