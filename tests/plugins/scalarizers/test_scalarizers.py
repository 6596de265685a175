"""What the scalarizers declare, their worked examples, and what tells one from another."""

from __future__ import annotations

import doctest
import importlib
import math
import pickle
import pkgutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

import morlaif_scalarizers
from morlaif_core import Scalarizer, ScoreMatrix, Terms
from morlaif_core.testing import make_scores, make_terms

OFFERED = {component.name: component for component in morlaif_scalarizers.morlaif_scalarizers()}
BY_ROW = [name for name, component in OFFERED.items() if "groups" not in component.needs]
MONOTONE = [name for name in BY_ROW if OFFERED[name].monotone]
MUST: dict[str, dict[str, object]] = {"single": {"principle": "p0"}}
"""What has no default."""


def build(name: str, **options: object) -> Scalarizer:
    return OFFERED[name].build(OFFERED[name].options(**{**MUST.get(name, {}), **options}))


def with_features(scores: ScoreMatrix) -> ScoreMatrix:
    """Scores with features of the prompts, for those who need them."""
    return replace(scores, features=np.ones((len(scores.values), 4), dtype=np.float32))


def reference_lexicographic(row: list[float], terms: Terms, temperature: float) -> float:
    """The formula as it stands in the documentation, one row in plain Python floats."""
    order = sorted(range(len(row)), key=lambda k: int(terms.priority[k]))
    u, reached = 0.0, 1.0
    for place, k in enumerate(order):
        r, tau, lower = row[k], float(terms.threshold[k]), float(terms.lower[k])
        u += reached * ((r if place == len(order) - 1 else min(r, tau)) - lower)
        reached *= 1 / (1 + math.exp(min(700.0, -(r - tau) / temperature)))
    return u


@st.composite
def cases(draw: st.DrawFn) -> tuple[ScoreMatrix, Terms]:
    """Scores within the clip range, any n and k, and terms of every kind."""
    n, k = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    inside = st.floats(-3, 3, width=32)
    values = draw(arrays(np.float32, (n, k), elements=inside))
    terms = make_terms(
        weight=draw(st.lists(st.floats(0.01, 5), min_size=k, max_size=k)),
        threshold=draw(st.lists(st.floats(-2.5, 2.5), min_size=k, max_size=k)),
        priority=draw(st.permutations(range(1, k + 1))),
    )
    return with_features(make_scores(values)), terms


def test_what_they_declare() -> None:
    weight, threshold, both, order = {"weight"}, {"threshold"}, {"weight", "threshold"}, {"threshold", "priority"}
    assert {name: set(component.uses) for name, component in OFFERED.items()} == {
        "weighted": weight,
        "max_min": threshold,
        "soft_max_min": weight,
        "uncertainty_weighted": weight,
        "lower_quantile": set(),
        "max_median": set(),
        "bernoulli_nash": both,
        "owa": set(),
        "power_mean": both,
        "chebyshev": weight,
        "lexicographic": order,
        "lexicographic_rank": {"priority"},
        "leximin": set(),
        "lagrangian": order,
        "gated": weight,
        "normalize_then_sum": weight,
        "single": set(),
    }
    needs = {name: set(component.needs) for name, component in OFFERED.items() if component.needs}
    groups = {"groups"}
    assert needs == {
        "lexicographic_rank": groups,
        "leximin": groups,
        "normalize_then_sum": groups,
        "gated": {"features"},
    }
    not_monotone = {name for name, component in OFFERED.items() if not component.monotone}
    assert not_monotone == {"uncertainty_weighted", "normalize_then_sum"}


@given(cases())
def test_weighted_is_the_weighted_mean(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    expected = [math.fsum(float(w) * float(r) for w, r in zip(terms.weight, row, strict=True)) for row in scores.values]
    np.testing.assert_allclose(build("weighted")(scores, terms), np.array(expected), rtol=1e-5, atol=1e-6)


@given(cases())
def test_max_min_is_the_smallest_margin(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    expected = [min(float(r) - float(t) for r, t in zip(row, terms.threshold, strict=True)) for row in scores.values]
    np.testing.assert_allclose(build("max_min")(scores, terms), np.array(expected), rtol=1e-6, atol=1e-6)


@given(cases(), st.sampled_from([0.01, 0.1, 1.0]))
def test_lexicographic_is_its_formula(case: tuple[ScoreMatrix, Terms], temperature: float) -> None:
    scores, terms = case
    expected = [reference_lexicographic(row.tolist(), terms, temperature) for row in scores.values]
    seen = build("lexicographic", temperature=temperature)(scores, terms)
    np.testing.assert_allclose(seen, np.array(expected), rtol=1e-5, atol=1e-5)


@settings(max_examples=200)
@given(cases(), st.data())
def test_monotone(case: tuple[ScoreMatrix, Terms], data: st.DataObject) -> None:
    scores, terms = case
    n, k = scores.values.shape
    raised = np.minimum(scores.values + data.draw(arrays(np.float32, (n, k), elements=st.floats(0, 2, width=32))), 3)
    for name in MONOTONE:
        before, after = build(name)(scores, terms), build(name)(replace(scores, values=raised), terms)
        assert (after >= before - 1e-5).all(), name


@given(cases())
def test_a_row_stands_alone_bit_for_bit(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    for name in BY_ROW:
        whole = build(name)(scores, terms)
        assert whole.dtype == np.float32
        for row in range(len(whole)):
            alone = with_features(make_scores(scores.values[row : row + 1]))
            assert build(name)(alone, terms)[0] == whole[row], name


@pytest.mark.parametrize("name", OFFERED)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_one_number_for_each_response(name: str, n: int) -> None:
    values = np.random.default_rng(0).uniform(-3, 3, (n, 3)).astype(np.float32)
    scores, terms = with_features(make_scores(values)), make_terms(k=3)
    for array in (scores.values, terms.weight, terms.threshold, terms.priority, terms.lower, terms.upper):
        array.setflags(write=False)  # an attempt to change an argument raises
    assert build(name)(scores, terms).shape == (n,)


@pytest.mark.parametrize("name", OFFERED)
def test_layout_in_memory_means_nothing(name: str) -> None:
    values = np.random.default_rng(1).uniform(-3, 3, (50, 7)).astype(np.float32)
    rows = with_features(make_scores(values, group=5))
    columns = replace(rows, values=np.asfortranarray(values))
    terms = make_terms(k=7)
    np.testing.assert_allclose(build(name)(columns, terms), build(name)(rows, terms), rtol=1e-6)


def test_max_min_looks_along_principles_not_along_responses() -> None:
    scores = make_scores([[-1.0, 2.0, 3.0], [4.0, 5.0, -6.0], [7.0, 8.0, 9.0], [0.5, 0.25, 0.75]])
    assert build("max_min")(scores, make_terms(k=3)).tolist() == [-1.0, -6.0, 7.0, 0.25]


def test_max_min_does_not_read_weights() -> None:
    scores = make_scores([[-1.0, 2.0], [1.0, 2.0]])
    light, heavy = make_terms(weight=[0.01, 0.99]), make_terms(weight=[0.99, 0.01])
    assert build("max_min")(scores, light).tolist() == build("max_min")(scores, heavy).tolist() == [-1.0, 1.0]


def test_lexicographic_never_pays_for_keeping_an_earlier_principle_bad() -> None:
    """Without the shift by the lower end, a bad later score makes the first row the better one."""
    scores, terms = make_scores([[-0.5, -3.0], [0.5, -3.0]]), make_terms(k=2)
    bad, good = build("lexicographic")(scores, terms)
    assert good > bad


def test_lexicographic_reaches_the_second_principle() -> None:
    scores = make_scores([[1.0, -2.0], [1.0 + 1e-6, -2.5], [1.5, 2.0]])
    u = build("lexicographic")(scores, make_terms(k=2))
    assert u[0] > u[1]
    assert u[2] > u[0]


def test_lexicographic_puts_the_first_principle_before_all_later_ones() -> None:
    scores = make_scores([[-1.0, 3.0, 3.0], [1.0, -3.0, -3.0]])
    first, second = build("lexicographic")(scores, make_terms(k=3))
    assert second > first
    first, second = build("lexicographic")(scores, make_terms(priority=[3, 1, 2]))
    assert first > second


def test_lexicographic_pickles_with_its_temperature() -> None:
    assert pickle.loads(pickle.dumps(build("lexicographic", temperature=0.3))) == build(
        "lexicographic", temperature=0.3
    )


def test_options() -> None:
    assert OFFERED["lexicographic"].options().temperature == 0.1  # type: ignore[attr-defined]
    for wrong in ({"temperature": 0.0}, {"temprature": 1.0}):
        with pytest.raises(ValueError, match="temp"):
            build("lexicographic", **wrong)


@pytest.mark.parametrize("name", OFFERED)
def test_the_worked_example(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"morlaif_scalarizers.{name}"))
    assert tried > 1
    assert failed == 0


def test_no_example_is_left_out() -> None:
    """A module whose name is no scalarizer's has its examples run too."""
    for module in pkgutil.iter_modules(morlaif_scalarizers.__path__):
        assert doctest.testmod(importlib.import_module(f"morlaif_scalarizers.{module.name}")).failed == 0
