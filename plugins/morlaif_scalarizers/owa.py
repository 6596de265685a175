"""Ordered weighted averaging: `Owa`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Doubles, Floats, ScoreMatrix, Terms, UserError


@dataclass(frozen=True)
class Owa:
    """A weighted mean of each row's scores sorted from worst to best.

    Formula: ``u = sum_i omega_i r_(i)`` with ``r_(1) <= ... <= r_(k)``, omega scaled to sum 1.

    Source: ordered weighted averaging (Yager, "On ordered weighted averaging aggregation operators in multicriteria
    decisionmaking", 1988); where omega does not increase it is a generalised Gini welfare (Weymark, "Generalized Gini
    inequality indices", 1981), fair in that a gain of the worse off counts for more. The default omega is that of the
    Gini index itself, ``omega_i = (2 (k - i) + 1) / k^2``.

    Range: within the row's scores. One family: (1, 0, ..., 0) is the minimum, equal omegas the mean.

    Trap: weights belong to ranks, not to principles; the terms' weights do not enter.

    Leaves out: the weighted OWA (Torra, "The weighted OWA operator", 1997), which has weights of both kinds.

    Attributes:
        omega: k weights from the worst score to the best; None for Gini's.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> Owa(omega=(3, 1))(make_scores([[2.0, -2.0], [0.0, 0.0]]), make_terms(k=2)).tolist()
    [-1.0, 0.0]
    """

    omega: tuple[float, ...] | None = None

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; no term is used."""
        r = np.sort(scores.values.astype(np.float64), axis=1)
        u: Floats = np.sum(self._weights(r.shape[1]) * r, axis=1).astype(np.float32)
        return u

    def _weights(self, k: int) -> Doubles:
        if self.omega is None:
            return (2.0 * (k - np.arange(1, k + 1)) + 1.0) / k**2
        if len(self.omega) != k:
            raise UserError(f"scalarizer.omega: {len(self.omega)} weights for {k} principles; give one for each rank")
        # Scaled to sum 1, so that u stays within the row's scores whatever the user's unit.
        omega = np.array(self.omega, dtype=np.float64)
        return omega / np.sum(omega)
