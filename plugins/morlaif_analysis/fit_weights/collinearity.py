"""Which principles say nearly the same: variance inflation, and pairs that correlate."""

from __future__ import annotations

import numpy as np

from morlaif_core import Doubles

NEARLY_EQUAL = 0.9
_EXACT = 1e-9  # what is left of a principle, as a share of its variance, below which the others say all of it


def variance_inflation(differences: Doubles) -> list[float | None]:
    """Return each principle's variance inflation factor: 1 independent of the others, above 10 hardly told apart.

    ``1 / (1 - R^2)`` with R^2 of the regression on the other principles, without intercept as differences have none.
    None: the principle never differs, or the others give it exactly (the factor is infinite).

    Source: Marquardt, "Generalized inverses, ridge regression, biased linear estimation" (1970).

    Leaves out: which others a principle is alike, where these are two or more (condition indices would say it).

    Args:
        differences: (m, k) score differences.
    """
    found: list[float | None] = []
    for place in range(differences.shape[1]):
        own, others = differences[:, place], np.delete(differences, place, axis=1)
        total = float(own @ own)
        rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0] if others.size else own
        left = float(rest @ rest)
        found.append(None if total == 0 or left < _EXACT * total else total / left)
    return found


def correlated(differences: Doubles) -> list[tuple[int, int, float]]:
    """Return the pairs of principles whose differences correlate above 0.9 either way: (place, place, correlation).

    The correlation is about 0, not about the mean: which response is a is arbitrary.
    """
    length = np.linalg.norm(differences, axis=0)
    unit = differences / np.where(length == 0, 1.0, length)
    matrix = unit.T @ unit
    k = len(length)
    pairs = [(one, other, float(matrix[one, other])) for one in range(k) for other in range(one + 1, k)]
    return [pair for pair in pairs if abs(pair[2]) > NEARLY_EQUAL]
