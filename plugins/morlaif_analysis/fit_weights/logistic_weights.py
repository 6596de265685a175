"""Weights from human choices: regularised logistic regression on score differences, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from morlaif_core import Doubles

from .choices import Choices, Places, resamples

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""L2 penalties tried, on standardised differences and the mean loss: from next to none to a flat model."""
UNSHRUNK = PENALTIES[0]
"""So little that coefficients are not pulled towards 0: for statements about people, not for predictions."""
FOLDS = 5
STEPS = 100
"""Newton steps at most; 4 to 8 are usual."""
Advance = Callable[[int, int], object]


def fit(choices: Choices, penalty: float, *, signed: bool = False, counts: Doubles | None = None) -> Doubles:
    """Return coefficients (k,) in logits per calibrated unit.

    Formula: ``P(a preferred) = sigma(sum_k beta_k d_k)``, without intercept since a and b are interchangeable, fitted by

        min  mean_m [-p log P - (1 - p) log(1 - P)] + penalty / 2 sum_k (beta_k s_k)^2,  beta_k >= 0 unless signed

    with s_k the root mean square of d_k: the penalty is the same whatever a principle's scale, and the scale is folded
    back into beta. Swapping a and b of any choice changes nothing. scikit-learn's LogisticRegression has neither soft
    labels nor coefficients that cannot be negative, hence this one: Newton's method, each step a least-squares problem
    (non-negative: Lawson and Hanson's, by scipy), with backtracking. The penalty makes the problem strictly convex, so
    that there is one solution.

    Source: logistic regression as a Bradley-Terry model (Bradley and Terry 1952).

    Leaves out: ties as an outcome of their own (Davidson 1970), because a tie is a soft label of one half.

    Args:
        choices: differences (m, k), m >= 1.
        penalty: above 0.
        signed: coefficients below 0 are allowed.
        counts: how often each row (m,) counts; None: once.
    """
    share = np.ones(len(choices.p_a)) if counts is None else counts
    # Rows that a resample lacks would cost time and change nothing.
    used = share > 0
    d, p, share = choices.differences[used], choices.p_a[used], share[used] / share.sum()
    scale = np.sqrt(share @ d**2)
    scale[scale < 1e-9] = 1.0  # a principle that never differs gets 0 by its penalty
    beta: Doubles = _newton(d / scale, p, share, penalty, signed) / scale
    return beta


def _newton(x: Doubles, p: Doubles, share: Doubles, penalty: float, signed: bool) -> Doubles:
    """Minimise the penalised mean loss of standardised differences."""
    from scipy.special import expit

    def loss(beta: Doubles) -> float:
        z = x @ beta
        return float(share @ (np.logaddexp(0.0, z) - p * z)) + penalty / 2 * float(beta @ beta)

    beta = np.zeros(x.shape[1])
    value = loss(beta)
    for _ in range(STEPS):
        chance = expit(x @ beta)
        gradient = x.T @ (share * (chance - p)) + penalty * beta
        curvature = (x * (share * chance * (1 - chance))[:, None]).T @ x + penalty * np.eye(len(beta))
        target = _least(curvature, curvature @ beta - gradient, signed)
        direction = target - beta
        fall = float(gradient @ direction)
        if fall > -1e-12:  # the loss can fall by half of that; a whole step from here ends at rounding
            return target
        size, after = 1.0, loss(target)
        # Armijo's condition with its usual constant; a step of 1e-8 is rounding.
        while after > value + 1e-4 * size * fall and size > 1e-8:
            size /= 2
            after = loss(beta + size * direction)
        beta, value = (target if size == 1.0 else beta + size * direction), after
    return beta


def _least(curvature: Doubles, pull: Doubles, signed: bool) -> Doubles:
    """Return the b that minimises b'Hb / 2 - pull'b, none below 0 unless signed."""
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    lower = cholesky(curvature, lower=True, check_finite=False)
    right = solve_triangular(lower, pull, lower=True, check_finite=False)
    found: Doubles = (
        solve_triangular(lower.T, right, lower=False, check_finite=False) if signed else nnls(lower.T, right)[0]
    )
    return found


def log_losses(choices: Choices, beta: Doubles) -> Doubles:
    """Return the log loss (m,) of coefficients (k,) on each choice, in nats; log 2 is that of knowing nothing."""
    z = choices.differences @ beta
    losses: Doubles = np.logaddexp(0.0, z) - choices.p_a * z
    return losses


def log_loss(choices: Choices, beta: Doubles) -> float:
    """Return the mean log loss of coefficients (k,) on choices, in nats."""
    return float(log_losses(choices, beta).mean())


def named_right(choices: Choices, beta: Doubles) -> Doubles:
    """Return for each decided choice 1 where the coefficients name the winner, 0 the loser, 0.5 neither."""
    z = choices.differences[choices.decided] @ beta
    right: Doubles = np.where(z == 0, 0.5, (z > 0) == (choices.p_a[choices.decided] > 0.5)).astype(np.float64)
    return right


def accuracy(choices: Choices, beta: Doubles) -> float:
    """Return the share of decided choices that the coefficients name, equal sums half; NaN where none is decided."""
    right = named_right(choices, beta)
    return float(right.mean()) if len(right) else float("nan")


def folds(choices: Choices, seed: int) -> list[tuple[Places, Places]]:
    """Return (train, test) row numbers of each fold; all rows of a prompt are in one fold, at least two prompts."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(n_splits=min(FOLDS, len(set(choices.prompts))), shuffle=True, random_state=seed)
    return list(splitter.split(choices.differences, groups=choices.groups))


def cross_validated(choices: Choices, seed: int, *, signed: bool = False) -> dict[float, float]:
    """Return each penalty's cross-validated log loss: the choice is that of the least."""
    parts = [(choices.rows(train), choices.rows(test)) for train, test in folds(choices, seed)]
    sizes = [len(test.p_a) for _, test in parts]

    def loss(penalty: float) -> float:
        losses = [log_loss(test, fit(train, penalty, signed=signed)) for train, test in parts]
        # By rows, since whole prompts make folds of unlike size.
        return float(np.average(losses, weights=sizes))

    return {penalty: loss(penalty) for penalty in PENALTIES}


def resampled(
    choices: Choices, penalty: float, seed: int, n: int, *, signed: bool = False, advance: Advance | None = None
) -> Doubles:
    """Return coefficients (n, k) of bootstrap resamples of whole prompts."""
    fits = []
    for number, counts in enumerate(resamples(choices, seed, n), start=1):
        fits.append(fit(choices, penalty, signed=signed, counts=counts))
        if advance is not None:
            advance(number, n)
    return np.array(fits)


def interval(draws: Doubles, around: Doubles | None = None) -> list[Sequence[float]]:
    """Return the 95 % bootstrap interval of each column of resamples (n, k).

    The percentile interval, which keeps to what a coefficient may be; around the estimates (k,): the basic one, which takes
    the bias of a small sample out (Davison and Hinkley, "Bootstrap methods", 1997, equation 5.6).
    """
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    if around is not None:
        low, high = 2 * around - high, 2 * around - low
    ends: list[Sequence[float]] = np.stack([low, high], axis=1).tolist()
    return ends
