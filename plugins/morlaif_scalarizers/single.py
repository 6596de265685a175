"""One principle alone: `Single`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms, UserError

from .names import find


@dataclass(frozen=True)
class Single:
    """The score of one principle; the others are trained and logged only.

    Formula: ``u = r`` of the principle.

    Source: the single-objective baseline of Williams, arXiv 2406.07295.

    Range: the clip range.

    Trap: what is not rewarded is what a policy gives away first: read the other principles' judge scores.

    Leaves out: weight and threshold, because the reward is standardised afterwards: a factor or a shift changes nothing.

    Attributes:
        principle: its name, an active principle of a weight above 0.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores = make_scores([[1.0, -1.0], [0.0, 2.0]])  # its principles are p0 and p1
    >>> Single("p1")(scores, make_terms(k=2)).tolist()
    [-1.0, 2.0]
    """

    principle: str

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; no term is used."""
        found = find(self.principle, scores.principles)
        if found is None:
            raise UserError(
                f"scalarizer.principle: there is no principle '{self.principle}' of a weight above 0 among: "
                f"{', '.join(scores.principles)}"
            )
        # A copy: a view would let whoever changes the rewards change the scores.
        return scores.values[:, scores.principles.index(found)].astype(np.float32, copy=True)
