"""`lagrangian`: its formula, how its multipliers move, and what it takes for a state."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core import ScoreMatrix, Terms
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers.lagrangian import Lagrangian
from morlaif_scalarizers.options import LagrangianOptions
from tests.helpers.scalarizer_cases import cases


@given(cases(least=1))
def test_lagrangian_is_its_formula(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    lagrangian, names = Lagrangian(), scores.principles
    multipliers = {name: 0.3 + place for place, name in enumerate(names)}
    lagrangian.restore({"multipliers": multipliers})
    objective = int(np.argmin(terms.priority))
    expected = []
    for row in scores.values.tolist():
        total = row[objective] + sum(
            multipliers[name] * (r - float(tau))
            for place, (name, r, tau) in enumerate(zip(names, row, terms.threshold, strict=True))
            if place != objective
        )
        expected.append(total / (1 + sum(multipliers[name] for i, name in enumerate(names) if i != objective)))
    np.testing.assert_allclose(lagrangian(scores, terms), expected, rtol=1e-5, atol=1e-5)


def test_lagrangian_multipliers_move_by_the_violation_and_stay_bounded() -> None:
    terms = make_terms(priority=[1, 2, 3], threshold=[0.0, 1.0, -1.0])
    lagrangian = Lagrangian(initial=1.0, eta=0.5, cap=5.0)
    for _ in range(100):
        lagrangian.end_step(make_scores([[0.0, 0.0, 0.0]]), terms)
    state = lagrangian.state()["multipliers"]
    assert isinstance(state, dict)
    assert state["p1"] == pytest.approx(5.0)  # below its threshold: up to the cap
    assert 0 < state["p2"] < 1e-8  # above it: towards 0, but not so far that there is no way back
    copy = pickle.loads(pickle.dumps(lagrangian))
    assert copy.state() == lagrangian.state()


def test_multipliers_cannot_start_above_their_cap() -> None:
    for initial, cap in ((100.0, 20.0), (1.0, 0.5)):
        with pytest.raises(ValueError, match=f"initial {initial:g} is above cap {cap:g}"):
            LagrangianOptions(initial=initial, cap=cap)
    assert LagrangianOptions(initial=20.0).cap == 20.0


@settings(deadline=None)
@given(cases(least=1), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_a_restored_one_goes_on_as_if_nothing_had_happened(case: tuple[ScoreMatrix, Terms], seeds: list[int]) -> None:
    scores, terms = case
    k = scores.values.shape[1]
    steps = [make_scores(np.random.default_rng(seed).uniform(-3, 3, (1, k))) for seed in seeds]
    whole, first, second = Lagrangian(), Lagrangian(), Lagrangian()
    for place, means in enumerate(steps):
        whole.end_step(means, terms)
        (first if 2 * place < len(steps) else second).end_step(means, terms)
        if 2 * place < len(steps) <= 2 * place + 2:
            second.restore(first.state())
    assert second.state() == whole.state()
    np.testing.assert_array_equal(second(scores, terms), whole(scores, terms))


@pytest.mark.parametrize("multiplier", [math.nan, math.inf, 0.0, -1.0, "2.0", None, [1.0]])
def test_a_damaged_state_is_refused_and_changes_nothing(multiplier: object) -> None:
    lagrangian = Lagrangian()
    lagrangian.restore({"multipliers": {"p1": 2.0}})
    with pytest.raises(ValueError, match="multiplier of p1"):
        lagrangian.restore({"multipliers": {"p0": 1.0, "p1": multiplier}})
    for other in ({}, {"means": [0.0]}, {"multipliers": [1.0]}):
        with pytest.raises(ValueError, match="not one of scalarizer lagrangian"):
            lagrangian.restore(other)
    assert lagrangian.state() == {"multipliers": {"p1": 2.0}}
