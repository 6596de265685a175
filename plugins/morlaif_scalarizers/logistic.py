"""The logistic function, its logarithm, and logarithms of sums of exponentials, without overflow."""

from __future__ import annotations

import numpy as np

from morlaif_core import Doubles


def sigmoid(x: Doubles) -> Doubles:
    """Return 1 / (1 + exp(-x)); by tanh, which never overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def log_sigmoid(x: Doubles) -> Doubles:
    """Return -log(1 + exp(-x))."""
    logarithm: Doubles = -np.logaddexp(0.0, -x)
    return logarithm


def log_sum_exp(x: Doubles, weights: Doubles | float = 1.0) -> Doubles:
    """Return log sum_k w_k exp(x_k) of each row: (n,) for x (n, k), finite, and weights (k,) above 0.

    Without the masks for infinities that scipy's takes, which cost several times the sum itself.
    """
    most = np.max(x, axis=1, keepdims=True)
    logarithm: Doubles = most[:, 0] + np.log(np.sum(weights * np.exp(x - most), axis=1))
    return logarithm
