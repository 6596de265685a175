"""Linear Bradley-Terry heads with soft labels, fitted in float64 by L-BFGS.

Leaves out: an intercept, as it cancels in a pair; scikit-learn's LogisticRegression, because it takes no soft labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Doubles: TypeAlias = "NDArray[np.float64]"

L2_GRID = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Tried by cross-validation, strongest first: each fit starts from the one before."""
L2_FEW = 3.0
"""Used where there are too few prompts to cross-validate."""
FOLDS, FEWEST = 5, 40


def loss_and_gradient(weights: Doubles, x: Doubles, p: Doubles, l2: float) -> tuple[float, Doubles]:
    """Return mean soft-label Bradley-Terry loss plus l2/2 |w|^2 and its gradient (h,).

    x: (n, h) feature differences a - b. p: (n,) P(a preferred) in [0, 1]. With z = x w the loss of a pair is
    log(1 + e^z) - p z, which is -(p log sigmoid(z) + (1 - p) log sigmoid(-z)).
    """
    from scipy.special import expit

    z = x @ weights
    loss = float(np.mean(np.logaddexp(0.0, z) - p * z) + 0.5 * l2 * weights @ weights)
    return loss, x.T @ (expit(z) - p) / len(p) + l2 * weights


def fit_weights(x: Doubles, p: Doubles, l2: float, start: Doubles | None = None) -> Doubles:
    """Return the weights (h,) that minimise `loss_and_gradient`; the problem is convex, l2 > 0 makes it strictly so."""
    from scipy.optimize import minimize

    first = np.zeros(x.shape[1]) if start is None else start
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-7}
    return np.asarray(minimize(loss_and_gradient, first, (x, p, l2), "L-BFGS-B", jac=True, options=options).x)


def choose_l2(x: Doubles, p: Doubles, groups: list[str]) -> float:
    """Return the penalty of `L2_GRID` with the least held-out loss over folds that keep equal groups together.

    groups: (n,) prompt ids; a prompt's place in the folds is its rank among the sorted ids, so nothing is drawn.
    """
    ranks = {name: rank for rank, name in enumerate(sorted(set(groups)))}
    if len(ranks) < FEWEST:
        return L2_FEW
    fold = np.array([ranks[name] % FOLDS for name in groups])
    losses = np.zeros(len(L2_GRID))
    for held_out in range(FOLDS):
        inside, outside = fold != held_out, fold == held_out
        weights: Doubles | None = None
        for index, l2 in enumerate(L2_GRID):
            weights = fit_weights(x[inside], p[inside], l2, weights)
            # Without the penalty, which is no part of how well a head predicts.
            losses[index] += loss_and_gradient(weights, x[outside], p[outside], 0.0)[0] * outside.sum()
    # Of equal losses the strongest penalty, which stands first.
    return L2_GRID[int(np.argmin(losses))]
