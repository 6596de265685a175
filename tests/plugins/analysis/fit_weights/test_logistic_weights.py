"""The fit of weights to human choices, against other solvers and planted truths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from morlaif_analysis.fit_weights.choices import Choices, draw, resamples, split
from morlaif_analysis.fit_weights.logistic_weights import (
    UNSHRUNK,
    accuracy,
    cross_validated,
    fit,
    folds,
    interval,
    log_loss,
    resampled,
)
from morlaif_core import Doubles, Message, Preference, make_prompt
from tests.helpers.planted_choices import planted


def loss_of(choices: Choices, penalty: float) -> Any:
    """The penalised loss and its gradient, written anew and unstandardised."""
    square = np.mean(choices.differences**2, axis=0)

    def loss(beta: Doubles) -> tuple[float, Doubles]:
        z = choices.differences @ beta
        value = np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - choices.p_a * z)
        slope = choices.differences.T @ (1 / (1 + np.exp(-z)) - choices.p_a) / len(z)
        return float(value + penalty / 2 * np.sum(square * beta**2)), slope + penalty * square * beta

    return loss


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_a_signed_fit_is_that_of_scikit_learn(penalty: float) -> None:
    from sklearn.linear_model import LogisticRegression

    choices = planted([1.0, -0.7, 0.2, 0.0], 500, 1, mix=0.8)
    scale = np.sqrt(np.mean(choices.differences**2, axis=0))
    known = LogisticRegression(C=1 / (500 * penalty), fit_intercept=False, tol=1e-12, max_iter=10_000)
    known.fit(choices.differences / scale, choices.p_a)
    np.testing.assert_allclose(fit(choices, penalty, signed=True), known.coef_[0] / scale, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_a_fit_without_negative_coefficients_is_that_of_scipy(penalty: float, soft: bool) -> None:
    choices = planted([1.0, -0.7, 0.2, 0.0, -0.1], 500, 2, soft=soft, mix=0.8)
    found = fit(choices, penalty)
    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-11}
    known = minimize(
        loss_of(choices, penalty), np.ones(5), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 5, options=options
    )
    np.testing.assert_allclose(found, known.x, atol=2e-5)
    assert loss_of(choices, penalty)(found)[0] <= known.fun + 1e-12
    assert found.min() == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 6), power=st.integers(-4, 2), signed=st.booleans())
def test_a_fit_fulfils_the_conditions_of_a_minimum(seed: int, k: int, power: int, signed: bool) -> None:
    beta = np.random.default_rng(seed).normal(size=k).tolist()
    choices = planted(beta, 80, seed, mix=seed % 3)
    found = fit(choices, 10.0**power, signed=signed)
    gradient = loss_of(choices, 10.0**power)(found)[1]
    if signed:
        assert np.abs(gradient).max() < 1e-7
    else:
        assert (found >= 0).all()
        assert (gradient > -1e-7).all()
        assert np.abs(gradient[found > 0]).max(initial=0) < 1e-7


def test_separable_choices_have_a_finite_fit() -> None:
    d = np.array([[1.0, 0.0], [2.0, 1.0], [0.5, -1.0]] * 20)
    found = fit(Choices(d, np.ones(60), tuple(map(str, range(60)))), 1e-4)
    assert np.isfinite(found).all()
    assert found[0] > 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), signed=st.booleans())
def test_which_response_is_a_does_not_matter(seed: int, signed: bool) -> None:
    choices = planted([0.8, -0.3, 0.1], 60, seed, soft=True)
    turned = np.random.default_rng(seed).random(60) < 0.5
    sign = np.where(turned, -1.0, 1.0)
    other = Choices(
        choices.differences * sign[:, None], np.where(turned, 1 - choices.p_a, choices.p_a), choices.prompts
    )
    np.testing.assert_allclose(fit(choices, 1e-2, signed=signed), fit(other, 1e-2, signed=signed), atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    signed=st.booleans(),
)
def test_the_scale_of_a_principle_is_folded_back(seed: int, scale: list[float], signed: bool) -> None:
    choices = planted([0.8, -0.3, 0.1], 60, seed)
    scaled = Choices(choices.differences * np.array(scale), choices.p_a, choices.prompts)
    np.testing.assert_allclose(
        fit(scaled, 1e-2, signed=signed) * np.array(scale), fit(choices, 1e-2, signed=signed), atol=1e-7
    )


def test_counts_are_repeated_rows() -> None:
    choices = planted([0.8, -0.3, 0.1], 50, 4)
    counts = np.arange(50) % 4
    repeated = choices.rows(np.repeat(np.arange(50), counts))
    np.testing.assert_allclose(fit(choices, 1e-2, counts=counts.astype(float)), fit(repeated, 1e-2), atol=1e-9)


def test_a_principle_that_never_differs_gets_nothing() -> None:
    choices = planted([0.8, 0.3], 100, 5)
    flat_one = Choices(np.column_stack([choices.differences, np.zeros(100)]), choices.p_a, choices.prompts)
    np.testing.assert_allclose(fit(flat_one, 1e-2), [*fit(choices, 1e-2), 0.0], atol=1e-9)


def test_log_loss_and_accuracy() -> None:
    choices = Choices(np.array([[1.0], [2.0], [0.0], [3.0]]), np.array([1.0, 0.2, 1.0, 0.5]), ("a", "b", "c", "d"))
    terms = [np.log1p(np.exp(-1)), np.log1p(np.exp(2)) - 0.4, np.log(2), np.log1p(np.exp(3)) - 1.5]
    assert log_loss(choices, np.array([1.0])) == pytest.approx(np.mean(terms))
    assert accuracy(choices, np.array([1.0])) == 0.5  # right, wrong, neither; the undecided does not count
    assert np.isnan(accuracy(choices.rows(np.array([3])), np.array([1.0])))


@pytest.mark.slow(seconds=3)
def test_bootstrap_intervals_cover_planted_weights() -> None:
    truth = np.array([0.9, 0.4, -0.3])
    covered = []
    for seed in range(40):
        choices = planted(truth.tolist(), 500, seed, per_prompt=2, mix=0.5)
        draws = resampled(choices, UNSHRUNK, seed, 200, signed=True)
        ends = np.array(interval(draws, fit(choices, UNSHRUNK, signed=True)))
        covered.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert 0.91 <= np.mean(covered) <= 0.99


def test_a_penalty_is_chosen_that_predicts() -> None:
    losses = cross_validated(planted([0.0] * 8, 100, 17), 0)  # nothing to learn: the flatter, the better
    assert min(losses, key=losses.__getitem__) >= 1
    losses = cross_validated(planted([2.0, 1.0], 1000, 17), 0)
    assert min(losses, key=losses.__getitem__) <= 1e-2


def test_intervals_of_resamples() -> None:
    draws = np.linspace([0.0, 0.0], [40.0, 4.0], 41)
    assert interval(draws) == [pytest.approx([1, 39]), pytest.approx([0.1, 3.9])]
    assert interval(draws, np.array([30.0, 2.0])) == [pytest.approx([21, 59]), pytest.approx([0.1, 3.9])]


def test_whole_prompts_are_resampled_and_kept_in_one_fold() -> None:
    choices = planted([1.0], 90, 6, per_prompt=3)
    for counts in resamples(choices, 0, 20):
        by_prompt = counts.reshape(30, 3)
        assert (by_prompt == by_prompt[:, :1]).all()
        assert counts.sum() == 90
    for train, test in folds(choices, 0):
        assert not set(choices.groups[train]) & set(choices.groups[test])
    assert resampled(choices, 1e-2, 3, 5) == pytest.approx(resampled(choices, 1e-2, 3, 5))


def test_held_out_prompts_are_a_fifth_drawn_by_hash() -> None:
    choices = planted([1.0], 200, 7, per_prompt=2)
    train, test = split(choices)
    assert not set(train.prompts) & set(test.prompts)
    assert len(test.p_a) == 40
    turned = choices.rows(np.arange(200)[::-1].copy())
    assert set(split(turned)[1].prompts) == set(test.prompts)


def test_labels_are_drawn_whatever_their_order_and_sides() -> None:
    prompts = [make_prompt([Message("user", f"question {number}")]) for number in range(40)]
    labels = [Preference(prompt, f"{prompt.id} yes", f"{prompt.id} no", 1.0) for prompt in prompts for _ in "ab"]
    sides = [Preference(item.prompt, item.b, item.a, 0.0) for item in reversed(labels)]
    drawn = draw(labels, 10)
    assert [item.prompt for item in drawn] == [item.prompt for item in draw(sides, 10)]
    assert drawn != labels[:10]
    assert len(draw(labels, 1000)) == 80
