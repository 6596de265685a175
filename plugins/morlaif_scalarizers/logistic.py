"""The logistic function and its logarithm, without overflow."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]


def sigmoid(x: Doubles) -> Doubles:
    """Return 1 / (1 + exp(-x)); by tanh, which never overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def log_sigmoid(x: Doubles) -> Doubles:
    """Return -log(1 + exp(-x))."""
    logarithm: Doubles = -np.logaddexp(0.0, -x)
    return logarithm
