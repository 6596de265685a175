"""The largest weighted distance to an ideal point: `Chebyshev`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morlaif_core import Doubles, Floats, ScoreMatrix, Terms, UserError

from .logistic import log_sum_exp
from .names import find


@dataclass(frozen=True)
class Chebyshev:
    """The (augmented, or smooth) Chebyshev scalarization.

    Formula, with z the ideal point and ``d_k = z_k - r_k``::

        u = -max_k w_k d_k - rho sum_k w_k d_k
        u = -mu log sum_k exp(w_k d_k / mu)          where mu is given

    Source: Bowman, "On the relationship of the Tchebycheff norm and the efficient frontier of multiple-criteria
    objectives" (1976), with the augmentation of Steuer and Choo (1983); the smooth form is STCH of Lin et al., arXiv
    2402.19078, equation 8.

    Range: at most 0 for scores within the clip range, up to ``mu log k`` less for the smooth form; every point of the
    Pareto front is the best one for some weights, unlike with a weighted sum.

    Trap: z lies at or above the clip range's upper end; where a score may pass it, a large weight would count less, not
    more.

    Leaves out: an ideal point that follows the best scores seen, because it would move the reward under the policy.

    Attributes:
        rho: of the augmentation, >= 0; not used where `mu` is given.
        mu: smoothness > 0; None for the maximum itself.
        target: z, a number or by principle; None for the clip range's upper end.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> terms = make_terms(weight=[1, 1], upper=3.0)
    >>> Chebyshev(rho=0.0)(make_scores([[3.0, 1.0], [2.0, 2.0]]), terms).tolist()
    [-1.0, -0.5]
    """

    rho: float = 0.05
    mu: float | None = None
    target: float | Mapping[str, float] | None = None

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; weight and upper (k,) are used."""
        distances = self._ideal(scores, terms) - scores.values.astype(np.float64)
        weighted = terms.weight.astype(np.float64) * distances
        if self.mu is not None:
            return np.asarray(-self.mu * log_sum_exp(weighted / self.mu), dtype=np.float32)
        # The sum tells apart rows of equal largest distance; without it one that is worse elsewhere ties.
        u: Floats = (-np.max(weighted, axis=1) - self.rho * np.sum(weighted, axis=1)).astype(np.float32)
        return u

    def _ideal(self, scores: ScoreMatrix, terms: Terms) -> Doubles:
        upper = terms.upper.astype(np.float64)
        if self.target is None:
            return upper
        if isinstance(self.target, Mapping):
            keys = [find(name, self.target) for name in scores.principles]
            given = [top if key is None else self.target[key] for key, top in zip(keys, upper, strict=True)]
            ideal = np.array(given, dtype=np.float64)
        else:
            ideal = np.full_like(upper, self.target)
        low = np.flatnonzero(ideal < upper)
        if len(low):
            raise UserError(
                f"scalarizer.target: {ideal[low[0]]:g} of {scores.principles[low[0]]} is below the clip range's upper "
                f"end {upper[low[0]]:g}; a score may pass it, which turns its weight round. Raise it, or lower reward.clip"
            )
        return ideal
