"""The scalarizers against formulas of scipy, numpy, pymoo and morl-baselines, called or written anew in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linprog
from scipy.special import expit, log_expit, logsumexp

from morlaif_core import ScoreMatrix, Terms
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers.lagrangian import Lagrangian
from tests.helpers.scalarizer_cases import OFFERED, build, cases, terms_of

Doubles: TypeAlias = NDArray[np.float64]
Case: TypeAlias = tuple[ScoreMatrix, Terms]
temperatures = st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0, 100.0, 1e6])
quick = settings(deadline=None)


def arrays_of(case: Case) -> tuple[Doubles, Doubles, Doubles]:
    """Scores (n, k), weights (k,) that sum to 1 in float64, thresholds (k,)."""
    scores, terms = case
    weight = terms.weight.astype(np.float64)
    return scores.values.astype(np.float64), weight / weight.sum(), terms.threshold.astype(np.float64)


def call(name: str, case: Case, **options: object) -> Any:
    return build(OFFERED[name], **options)(*case)


def close(seen: Any, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(seen, expected, rtol=2 * tolerance, atol=tolerance)


@quick
@given(cases(least=1))
def test_numpy_average_minimum_and_median(case: Case) -> None:
    r, w, tau = arrays_of(case)
    close(call("weighted", case), np.average(r, axis=1, weights=w))
    close(call("max_min", case), np.amin(r - tau, axis=1))
    close(call("max_median", case), np.quantile(r, 0.5, axis=1, method="midpoint"))
    close(call("single", case), r[:, 0])


@quick
@given(cases(least=1), temperatures)
def test_soft_max_min_is_scipys_logsumexp(case: Case, temperature: float) -> None:
    r, w, _ = arrays_of(case)
    expected = -temperature * logsumexp(-r / temperature, b=w, axis=1)
    close(call("soft_max_min", case, temperature=temperature), expected)


@quick
@given(cases(least=1), st.sampled_from([0.05, 0.5, 1.0, 10.0]))
def test_the_papers_soft_minimum_is_an_average_by_shares(case: Case, temperature: float) -> None:
    r, w, _ = arrays_of(case)
    expected = [np.average(row, weights=w * np.exp(-(row - row.min()) / temperature)) for row in r]
    close(call("soft_max_min", case, temperature=temperature, boltzmann=True), expected)


@quick
@given(cases(least=1), st.floats(0, 3))
def test_uncertainty_is_numpys_weighted_covariance(case: Case, lam: float) -> None:
    r, w, _ = arrays_of(case)
    assume(r.shape[1] > 1)
    variance = [float(np.cov(row, aweights=w, ddof=0)) for row in r]
    close(call("uncertainty_weighted", case, lam=lam), r @ w - lam * np.sqrt(np.maximum(variance, 0)))


@settings(max_examples=40, deadline=None)
@given(cases(least=1), st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 1.0]))
def test_lower_quantile_solves_rockafellar_and_uryasevs_program(case: Case, q: float) -> None:
    """CVaR as they define it: the most of ``t - mean(max(t - r, 0)) / share`` over t, here by a linear program."""
    r, _, _ = arrays_of(case)
    k = r.shape[1]
    share = np.ceil(round(q * k, 9)) / k
    expected = []
    for row in r:
        cost = np.concatenate([[-1.0], np.full(k, 1 / (share * k))])
        bounds = [(None, None)] + [(0, None)] * k
        program = linprog(cost, A_ub=np.hstack([np.ones((k, 1)), -np.eye(k)]), b_ub=row, bounds=bounds)
        expected.append(-program.fun)
    close(call("lower_quantile", case, q=q), expected)


@quick
@given(cases(least=1), st.sampled_from([0.01, 0.5, 1.0, 10.0]))
def test_bernoulli_nash_is_scipys_log_expit(case: Case, temperature: float) -> None:
    r, w, b = arrays_of(case)
    close(call("bernoulli_nash", case, temperature=temperature), log_expit((r - b) / temperature) @ w)


@quick
@given(cases(least=1), st.data())
def test_owa_is_the_generalised_gini_of_morl_baselines(case: Case, data: st.DataObject) -> None:
    """A dot product of non-increasing weights with the sorted vector; and Gini's own by its mean absolute difference."""
    r, _, _ = arrays_of(case)
    k = r.shape[1]
    omega = sorted(data.draw(st.lists(st.floats(0.01, 1), min_size=k, max_size=k)), reverse=True)
    expected = [np.dot(np.array(omega) / sum(omega), np.sort(row)) for row in r]
    close(call("owa", case, omega=omega), expected)
    differences = np.abs(r[:, :, None] - r[:, None, :]).mean(axis=(1, 2))
    close(call("owa", case), r.mean(axis=1) - differences / 2)


@quick
@given(cases(least=1), st.sampled_from([-30.0, -2.0, -1.0, -1e-3, -1e-5, 0.0, 1e-5, 0.5, 1.0, 3.0, 30.0]))
def test_power_mean_is_scipys(case: Case, p: float) -> None:
    r, w, b = arrays_of(case)
    expected = stats.pmean(expit(r - b), p, axis=1, weights=w)
    close(call("power_mean", case, p=p), expected, 1e-4 if 0 < abs(p) < 1e-4 else 1e-5)


@quick
@given(cases(least=1), st.floats(-1e-3, 1e-3))
def test_power_mean_of_nearly_0_is_nearly_geometric(case: Case, p: float) -> None:
    r, w, b = arrays_of(case)
    close(call("power_mean", case, p=p), stats.gmean(expit(r - b), axis=1, weights=w), 3e-3)


@quick
@given(cases(least=1), st.sampled_from([0.0, 0.05, 1.0]))
def test_chebyshev_is_pymoos(case: Case, rho: float) -> None:
    """Tchebicheff and ASF of pymoo minimise F with an ideal point: F is the score turned round."""
    r, w, _ = arrays_of(case)
    costs, ideal = -r, np.full(r.shape[1], -3.0)
    tchebicheff = np.max(np.abs(costs - ideal) * w, axis=1)
    achievement = np.max((costs - ideal) / (1 / w), axis=1)  # ASF divides by its weights
    close(tchebicheff, achievement)
    close(call("chebyshev", case, rho=rho), -tchebicheff - rho * np.sum((costs - ideal) * w, axis=1))


@quick
@given(cases(least=1), st.sampled_from([0.01, 0.1, 1.0]))
def test_smooth_chebyshev_is_stch_and_lies_below_the_maximum(case: Case, mu: float) -> None:
    r, w, _ = arrays_of(case)
    distances = w * np.abs(-r - -3.0)
    close(call("chebyshev", case, mu=mu), -mu * logsumexp(distances / mu, axis=1))
    gap = -distances.max(axis=1) - call("chebyshev", case, mu=mu)
    assert (gap >= -1e-5).all()
    assert (gap <= mu * np.log(r.shape[1]) + 1e-5).all()


@quick
@given(cases(least=2))
def test_sharp_lexicographic_orders_as_gabor_compares(case: Case) -> None:
    """Far from the thresholds, its order is that of (min(r_1, tau_1), min(r_2, tau_2), ..., r_K)."""
    scores, terms = case
    r, _, tau = arrays_of(case)
    assume(np.abs(r - tau).min() > 0.05)
    order = np.argsort(terms.priority)
    below = np.array([next((place for place in order[:-1] if row[place] < tau[place]), order[-1]) for row in r])
    u = call("lexicographic", (scores, terms), temperature=0.001)
    # A row that fails at some principle gets the thresholds before it, and what it has of that principle.
    floor = np.array([sum(tau[p] + 3 for p in order[: list(order).index(at)]) for at in below])
    close(u, floor + r[np.arange(len(r)), below] + 3, 1e-3)


@quick
@given(cases(least=1), st.data())
def test_lagrangian_is_safe_rlhfs(case: Case, data: st.DataObject) -> None:
    """Reward minus lambda times cost, over 1 + lambda, with cost tau - r; log lambda climbs by eta times the cost."""
    scores, terms = case
    r, _, tau = arrays_of(case)
    k, eta = r.shape[1], 0.3
    objective = int(np.argmin(terms.priority))
    constrained = np.arange(k) != objective
    logs, lagrangian = np.log(np.full(k, 0.7)), Lagrangian(initial=0.7, eta=eta, cap=20.0)
    for _ in range(data.draw(st.integers(0, 4))):
        means = data.draw(arrays(np.float32, (1, k), elements=st.floats(-3, 3, width=32)))
        lagrangian.end_step(make_scores(means), terms)
        logs = np.minimum(np.log(20.0), logs + eta * (tau - means[0].astype(np.float64)))
    multipliers = np.exp(logs) * constrained
    expected = (r[:, objective] - (tau - r) @ multipliers) / (1 + multipliers.sum())
    close(lagrangian(scores, terms), expected, 3e-5)


@st.composite
def groups(draw: st.DrawFn) -> Case:
    """Interleaved groups of uneven size; scores on a coarse grid, so that there are ties."""
    scores, _ = draw(cases(least=1))
    n, k = scores.values.shape
    coarse = draw(arrays(np.float32, (n, k), elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0])))
    return ScoreMatrix(coarse, scores.principles, scores.prompt_ids), draw(terms_of(k))


def by_group(scores: ScoreMatrix, reference: Callable[[Doubles], Doubles]) -> Doubles:
    """A group's reference for each group's rows (m, k)."""
    ids, expected = np.array(scores.prompt_ids), np.zeros(len(scores.values))
    for group in set(scores.prompt_ids):
        expected[ids == group] = reference(scores.values[ids == group].astype(np.float64))
    return expected


def share_of_ranks(keys: Doubles) -> Doubles:
    """scipy's rankdata of rows compared entry by entry, from 0 to 1; ties share their mean."""
    distinct = np.unique(keys, axis=0, return_inverse=True)[1].ravel()  # sorted as np.lexsort would
    ranks: Doubles = (stats.rankdata(distinct) - 1) / (len(keys) - 1) if len(keys) > 1 else np.array([0.5])
    return ranks


@quick
@given(groups())
def test_leximin_is_rankdata_of_sorted_rows(case: Case) -> None:
    close(call("leximin", case), by_group(case[0], lambda rows: share_of_ranks(np.sort(rows, axis=1))))


@quick
@given(groups(), st.sampled_from([0.0, 0.3, 1.0]))
def test_lexicographic_rank_is_rankdata_of_binned_rows(case: Case, slack: float) -> None:
    order = np.argsort(case[1].priority)

    def reference(rows: Doubles) -> Doubles:
        keys = rows[:, order].copy()
        if slack:
            below = keys.max(axis=0) - keys
            keys[:, :-1] = -np.floor(below / slack)[:, :-1]
        return share_of_ranks(keys)

    close(call("lexicographic_rank", case, slack=slack), by_group(case[0], reference))


@quick
@given(groups(), st.sampled_from([1e-4, 0.1]))
def test_normalize_then_sum_is_gdpos(case: Case, eps: float) -> None:
    _, w, _ = arrays_of(case)

    def reference(rows: Doubles) -> Doubles:
        deviation, scaled = rows.std(axis=0), np.zeros_like(rows)
        varies = np.ptp(rows, axis=0) > 0  # zscore of a constant is no number
        scaled[:, varies] = stats.zscore(rows[:, varies], axis=0) if varies.any() else 0.0
        return (scaled * deviation / (deviation + eps)) @ w

    v = by_group(case[0], reference)
    close(call("normalize_then_sum", case, eps=eps), (v - v.mean()) / (v.std() + eps), 1e-3)


@pytest.mark.parametrize("temperature", [1e5, 1e9])
def test_a_hot_soft_minimum_is_the_weighted_mean(temperature: float) -> None:
    """Weights in float32 sum to 1 + 1e-7: T log of that sum must not show."""
    scores = make_scores(np.random.default_rng(0).uniform(-3, 3, (20, 7)))
    terms = make_terms(weight=[0.3, 1.7, 0.2, 0.9, 1.1, 0.7, 0.1])
    expected = scores.values.astype(np.float64) @ (terms.weight.astype(np.float64) / terms.weight.sum(dtype=np.float64))
    close(call("soft_max_min", (scores, terms), temperature=temperature), expected, 1e-4)
