"""One objective under constraints, whose multipliers move between steps: `Lagrangian`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from morlaif_core import Doubles, Floats, ScoreMatrix, Terms


class Lagrangian:
    """The first principle, and a multiplier for each other one that stays below its threshold.

    Formula, R the principle of the first priority and c the others::

        u = (r_R + sum_c lambda_c (r_c - tau_c)) / (1 + sum_c lambda_c)

    After each training step, with the batch mean and the step size eta::

        log lambda_c  <-  min(log cap, log lambda_c + eta (tau_c - mean r_c))

    Source: Safe RLHF of Dai et al., arXiv 2310.12773, equations 10 and 31, in its reward form. One difference: equation
    31, ``ln lambda <- ln lambda + alpha lambda J_C``, has lambda as a factor of the step, and the update above has not.
    A violation moves a small multiplier by the same ratio as a large one.

    Range: a weighted mean of the objective and the margins, so within their range.

    Traps: the multipliers are state: a checkpoint keeps them (`state`, `restore`), and they are constant within a
    rollout, or rewards of one batch could not be compared. They grow without end where a threshold cannot be reached:
    hence the cap.

    Leaves out: separate cost models, because a cost is a score below its threshold; and an average of the violation over
    earlier steps.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> lagrangian, terms = Lagrangian(initial=1.0, eta=1.0), make_terms(priority=[1, 2], threshold=[0.0, 1.0])
    >>> lagrangian(make_scores([[2.0, 1.0], [2.0, -1.0]]), terms).tolist()
    [1.0, 0.0]
    >>> lagrangian.end_step(make_scores([[2.0, 0.0]]), terms)  # one below its threshold: lambda is e
    >>> round(lagrangian.state()["multipliers"]["p1"], 3)
    2.718
    """

    def __init__(self, initial: float = 1.0, eta: float = 0.1, cap: float = 20.0) -> None:
        """initial: every lambda at the start, > 0, up to cap. eta: step size, > 0. cap: of every lambda, > 0."""
        self._initial, self._eta, self._cap = initial, eta, cap
        self._multipliers: dict[str, float] = {}

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32; threshold and priority (k,) are used."""
        objective = int(np.argmin(terms.priority))
        weights = self._weights(scores.principles, objective)
        margins = scores.values.astype(np.float64) - terms.threshold.astype(np.float64)
        # The objective is no constraint, so its own threshold does not count.
        margins[:, objective] = scores.values[:, objective]
        # Divided, or the reward would grow with the multipliers, and the KL penalty count for less.
        u: Floats = (np.sum(weights * margins, axis=1) / np.sum(weights)).astype(np.float32)
        return u

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        """Move the multipliers by the violation of the step's mean scores (1, k)."""
        objective = int(np.argmin(terms.priority))
        for place, name in enumerate(means.principles):
            if place != objective:
                violation = float(terms.threshold[place]) - float(means.values[0, place])
                # Bounded below as well: from a multiplier of 0 there is no way back.
                moved = math.log(self._of(name)) + self._eta * violation
                self._multipliers[name] = math.exp(max(-20.0, min(math.log(self._cap), moved)))

    def state(self) -> Mapping[str, object]:
        """Return the multipliers that have moved, by principle, as JSON."""
        return {"multipliers": dict(self._multipliers)}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: it is no state of this scalarizer, or a multiplier is no number above 0.
        """
        multipliers = state.get("multipliers")
        if not isinstance(multipliers, Mapping):
            raise ValueError("the state saved is not one of scalarizer lagrangian: it has no multipliers")
        for name, value in multipliers.items():
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise ValueError(f"the state saved is damaged: the multiplier of {name} is {value!r}, not above 0")
        self._multipliers = {name: float(value) for name, value in multipliers.items()}

    def _weights(self, names: tuple[str, ...], objective: int) -> Doubles:
        return np.array([1.0 if place == objective else self._of(name) for place, name in enumerate(names)])

    def _of(self, name: str) -> float:
        return self._multipliers.get(name, self._initial)
