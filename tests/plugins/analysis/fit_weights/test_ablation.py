"""What each principle adds, and which of them say the same."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from morlaif_analysis.fit_weights.ablation import ablate
from morlaif_analysis.fit_weights.collinearity import variance_inflation
from morlaif_analysis.fit_weights.logistic_weights import (
    accuracy,
    fit,
    folds,
)
from tests.helpers.planted_choices import planted


@pytest.mark.parametrize("signed", [False, True])
def test_gains_are_shapley_values(signed: bool) -> None:
    choices = planted([1.0, 0.5, -0.6, 0.1], 200, 8, mix=0.7)
    found = ablate(choices, 1e-2, 0, 200, signed=signed)
    parts = [(choices.rows(train), choices.rows(test)) for train, test in folds(choices, 0)]

    def value(members: tuple[int, ...]) -> float:
        if not members:
            return 0.5
        fits = [fit(train.columns(members), 1e-2, signed=signed) for train, _ in parts]
        right = [
            accuracy(test.columns(members), beta) * len(test.p_a) for (_, test), beta in zip(parts, fits, strict=True)
        ]
        return sum(right) / 200

    k = 4
    for principle in range(k):
        others = [place for place in range(k) if place != principle]
        known = sum(
            factorial(size)
            * factorial(k - size - 1)
            / factorial(k)
            * (value(tuple(sorted((*some, principle)))) - value(some))
            for size in range(k)
            for some in combinations(others, size)
        )
        assert found.gains[principle] == pytest.approx(known, abs=1e-9)
    assert found.orders == factorial(k)
    for size in range(k + 1):
        assert found.curve[size] == pytest.approx(np.mean([value(some) for some in combinations(range(k), size)]))


def test_gains_of_random_orders_sum_to_the_accuracy_of_all() -> None:
    choices = planted([1.0, 0.5, -0.6, 0.1, 0.0, 0.2], 200, 9)
    found = ablate(choices, 1e-2, 0, 20)
    assert found.orders == 20
    assert found.curve[0] == 0.5
    assert found.gains.sum() == pytest.approx(found.curve[-1] - 0.5)
    assert ablate(choices, 1e-2, 1, 20).curve[-1] == pytest.approx(found.curve[-1], abs=0.06)


def test_intervals_of_gains_cover_those_of_many_choices() -> None:
    truth = ablate(planted([0.9, 0.3], 20_000, 99), 1e-3, 0, 2)
    covered = []
    for seed in range(40):
        found = ablate(planted([0.9, 0.3], 400, seed), 1e-3, 0, 2)
        covered.append(np.abs(found.gains - truth.gains) <= found.reach)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_variance_inflation_is_the_diagonal_of_the_inverse_correlation() -> None:
    d = planted([0.0] * 4, 300, 10, mix=1.0).differences
    length = np.linalg.norm(d, axis=0)
    known = np.diag(np.linalg.inv((d / length).T @ (d / length)))
    np.testing.assert_allclose(np.array(variance_inflation(d), dtype=float), known, rtol=1e-9)
    assert variance_inflation(np.column_stack([d, d[:, 0] - d[:, 1]]))[:2] == [None, None]
    assert variance_inflation(np.column_stack([d[:, :1], np.zeros(300)])) == [pytest.approx(1.0), None]
