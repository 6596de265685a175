"""The product of the chances to pass: `BernoulliNash`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .logistic import log_sigmoid


@dataclass(frozen=True)
class BernoulliNash:
    """The Nash welfare of the chances to pass each threshold, in log space.

    Formula, with b the thresholds and T the temperature::

        u = sum_k w_k log sigma((r_k - b_k) / T)

    Source: Nash welfare, the product of utilities ("Bernoulli-Nash" in Williams, arXiv 2406.07295); the log-sigmoid of
    centred rewards of Wang et al., arXiv 2402.00742, who read its sum as the log of "all principles hold".

    Range: below 0; a principle far above its threshold adds nothing more, one far below counts in full.

    Traps: weights are exponents; a product of many probabilities must be taken in log space.

    Leaves out: the product of raw utilities over a disagreement point, because scores may be negative, and a product of
    such is noise.

    Attributes:
        temperature: T > 0, in calibrated units.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> BernoulliNash()(make_scores([[0.0, 0.0], [2.0, -2.0]]), make_terms(weight=[1, 1])).round(4)
    array([-0.6931, -1.1269], dtype=float32)
    """

    temperature: float = 1.0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; weight and threshold (k,) are used."""
        margins = (scores.values.astype(np.float64) - terms.threshold.astype(np.float64)) / self.temperature
        u: Floats = np.sum(terms.weight.astype(np.float64) * log_sigmoid(margins), axis=1).astype(np.float32)
        return u
