"""Each scalarizer against its formula, written anew for one row in plain Python floats, and against its limits."""

from __future__ import annotations

import math
import pickle
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from morlaif_core import Scalarizer, ScoreMatrix, Terms, UserError
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers
from morlaif_scalarizers.lagrangian import Lagrangian

OFFERED = {component.name: component for component in morlaif_scalarizers()}
Row, Formula = list[float], Callable[[list[float], list[float], list[float]], float]


def build(name: str, **options: object) -> Scalarizer:
    return OFFERED[name].build(OFFERED[name].options(**options))


@st.composite
def cases(draw: st.DrawFn) -> tuple[ScoreMatrix, Terms]:
    """Scores within the clip range, and terms of every kind."""
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    values = draw(arrays(np.float32, (n, k), elements=st.floats(-3, 3, width=32)))
    weight = draw(st.lists(st.floats(0.05, 5), min_size=k, max_size=k))
    threshold = draw(st.lists(st.floats(-2.5, 2.5), min_size=k, max_size=k))
    return make_scores(values), make_terms(weight=weight, threshold=threshold, priority=draw(st.permutations(range(k))))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def deviation(r: Row, w: Row) -> float:
    mean = math.fsum(a * b for a, b in zip(w, r, strict=True))
    return math.sqrt(math.fsum(a * (b - mean) ** 2 for a, b in zip(w, r, strict=True)))


def power_mean(p: float) -> Formula:
    def formula(r: Row, w: Row, b: Row) -> float:
        s = [sigma(x - y) for x, y in zip(r, b, strict=True)]
        if p == 0:
            return math.prod(x**a for x, a in zip(s, w, strict=True))
        return float(math.fsum(a * x**p for x, a in zip(s, w, strict=True)) ** (1 / p))

    return formula


def chebyshev(rho: float) -> Formula:
    def formula(r: Row, w: Row, b: Row) -> float:
        d = [a * (3.0 - x) for x, a in zip(r, w, strict=True)]
        return -max(d) - rho * math.fsum(d)

    return formula


FORMULAS: list[tuple[str, dict[str, object], Formula]] = [
    ("soft_max_min", {}, lambda r, w, b: -math.log(sum(a * math.exp(-x) for x, a in zip(r, w, strict=True)))),
    (
        "soft_max_min",
        {"temperature": 0.2},
        lambda r, w, b: -0.2 * math.log(sum(a * math.exp(-x / 0.2) for x, a in zip(r, w, strict=True))),
    ),
    (
        "uncertainty_weighted",
        {"lam": 0.7},
        lambda r, w, b: math.fsum(a * x for x, a in zip(r, w, strict=True)) - 0.7 * deviation(r, w),
    ),
    ("lower_quantile", {}, lambda r, w, b: statistics.fmean(sorted(r)[: math.ceil(len(r) / 3)])),
    ("lower_quantile", {"q": 1.0}, lambda r, w, b: statistics.fmean(r)),
    ("max_median", {}, lambda r, w, b: statistics.median(r)),
    (
        "bernoulli_nash",
        {"temperature": 0.5},
        lambda r, w, b: sum(a * math.log(sigma((x - y) / 0.5)) for x, a, y in zip(r, w, b, strict=True)),
    ),
    (
        "owa",
        {},
        lambda r, w, b: sum((2 * (len(r) - i) - 1) * x for i, x in enumerate(sorted(r))) / len(r) ** 2,
    ),
    ("power_mean", {}, power_mean(-1.0)),
    ("power_mean", {"p": 0.0}, power_mean(0.0)),
    ("power_mean", {"p": 1.0}, power_mean(1.0)),
    ("power_mean", {"p": 2.5}, power_mean(2.5)),
    ("chebyshev", {}, chebyshev(0.05)),
    (
        "chebyshev",
        {"mu": 0.3},
        lambda r, w, b: -0.3 * math.log(sum(math.exp(a * (3.0 - x) / 0.3) for x, a in zip(r, w, strict=True))),
    ),
    ("chebyshev", {"target": 4.0, "rho": 0.0}, lambda r, w, b: -max(a * (4 - x) for x, a in zip(r, w, strict=True))),
]


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS, ids=lambda value: str(value)[:40])
@given(case=cases())
def test_formula(name: str, options: dict[str, object], formula: Formula, case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    w, b = terms.weight.tolist(), terms.threshold.tolist()
    expected = [formula(row, w, b) for row in scores.values.tolist()]
    np.testing.assert_allclose(build(name, **options)(scores, terms), expected, rtol=2e-5, atol=2e-5)


@given(cases())
def test_limits_join_the_families(case: tuple[ScoreMatrix, Terms]) -> None:
    scores = case[0]
    r = scores.values.astype(np.float64)
    k = r.shape[1]
    equal = make_terms(k=k)
    for name, options, expected in [
        ("soft_max_min", {"temperature": 1e-3}, r.min(axis=1)),
        ("soft_max_min", {"temperature": 1e5}, r.mean(axis=1)),
        ("owa", {"omega": [1] + [0] * (k - 1)}, r.min(axis=1)),
        ("owa", {"omega": [1] * k}, r.mean(axis=1)),
        ("lower_quantile", {"q": 1e-6}, r.min(axis=1)),
        ("power_mean", {"p": -800.0}, 1 / (1 + np.exp(-r.min(axis=1)))),
    ]:
        np.testing.assert_allclose(build(name, **options)(scores, equal), expected, atol=0.02, err_msg=name)


@given(cases())
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


@st.composite
def grouped(draw: st.DrawFn) -> tuple[ScoreMatrix, Terms]:
    """Groups of four rows, scores on a coarse grid so that ties occur."""
    n, k = 4 * draw(st.integers(1, 3)), draw(st.integers(1, 4))
    values = draw(arrays(np.float32, (n, k), elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0])))
    return make_scores(values, group=4), make_terms(priority=draw(st.permutations(range(k))))


def ranks(rows: list[tuple[float, ...]]) -> list[float]:
    """Shares of the others that a row beats, ties half."""
    others = len(rows) - 1
    return [(sum(b < a for b in rows) + 0.5 * (sum(b == a for b in rows) - 1)) / others for a in rows]


@given(grouped())
def test_leximin_is_a_sort_of_sorted_rows(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    rows = [tuple(sorted(row)) for row in scores.values.tolist()]
    expected = [rank for start in range(0, len(rows), 4) for rank in ranks(rows[start : start + 4])]
    np.testing.assert_allclose(build("leximin")(scores, terms), expected, atol=1e-6)


@given(grouped(), st.sampled_from([0.0, 0.6, 1.0]))
def test_lexicographic_rank_is_its_formula(case: tuple[ScoreMatrix, Terms], slack: float) -> None:
    scores, terms = case
    order = sorted(range(len(terms.priority)), key=lambda place: int(terms.priority[place]))
    expected: list[float] = []
    for start in range(0, len(scores.values), 4):
        group = scores.values[start : start + 4].tolist()
        best = [max(row[place] for row in group) for place in order]
        keys = [
            tuple(
                row[place] if slack == 0 or step == len(order) - 1 else -math.floor((best[step] - row[place]) / slack)
                for step, place in enumerate(order)
            )
            for row in group
        ]
        expected += ranks(keys)
    np.testing.assert_allclose(build("lexicographic_rank", slack=slack)(scores, terms), expected, atol=1e-6)


def test_slack_by_name_and_in_a_tier() -> None:
    scores = make_scores([[2.0, 0.0], [1.6, 1.0], [0.0, 3.0]], group=3)
    terms = make_terms(priority=[1, 2])
    assert build("lexicographic_rank", slack={"p0": 0.5})(scores, terms).tolist() == [0.5, 1.0, 0.0]
    assert build("lexicographic_rank", slack={"p1": 0.5})(scores, terms).tolist() == [1.0, 0.5, 0.0]
    tier = replace(scores, principles=("p0+x", "p1"))
    assert build("lexicographic_rank", slack={"p0": 1.0, "x": 0.0})(tier, terms).tolist() == [0.5, 1.0, 0.0]


@settings(max_examples=50)
@given(grouped())
def test_normalize_then_sum_is_its_formula(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    r, w, eps = scores.values.astype(np.float64), terms.weight.astype(np.float64), 1e-4
    parts = []
    for start in range(0, len(r), 4):
        group = r[start : start + 4]
        parts.append((group - group.mean(axis=0)) / (group.std(axis=0) + eps))
    v = np.concatenate(parts) @ w
    expected = (v - v.mean()) / (v.std() + eps)
    np.testing.assert_allclose(build("normalize_then_sum")(scores, terms), expected, rtol=1e-4, atol=1e-3)


def test_normalize_then_sum_on_groups_of_one_and_two() -> None:
    alone = make_scores([[1.0, 2.0], [3.0, -1.0]])
    assert build("normalize_then_sum")(alone, make_terms(k=2)).tolist() == [0.0, 0.0]
    pairs = make_scores([[1.0, 0.0], [1.1, 0.0]], group=2)
    assert build("normalize_then_sum")(pairs, make_terms(k=2)).round(1).tolist() == [-1.0, 1.0]


def test_the_papers_soft_minimum_is_not_monotone_and_says_so() -> None:
    with pytest.warns(UserWarning, match="not monotone"):
        paper = build("soft_max_min", boltzmann=True)
    terms = make_terms(k=2)
    low, high = paper(make_scores([[0.0, 2.0], [0.0, 3.0]]), terms)
    assert high < low


def test_owa_says_what_is_not_fair_and_what_does_not_fit() -> None:
    with pytest.warns(UserWarning, match="not fair"):
        build("owa", omega=[1, 2])
    with pytest.raises(UserError, match="2 weights for 3 principles"):
        build("owa", omega=[2, 1])(make_scores([[0.0, 0.0, 0.0]]), make_terms(k=3))
    for wrong in ([], [-1.0, 2.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weights are 0 or more"):
            build("owa", omega=wrong)


def test_chebyshev_wants_its_ideal_beyond_the_clip_range() -> None:
    scores, terms = make_scores([[0.0, 1.0]]), make_terms(weight=[1, 1])
    with pytest.raises(UserError, match="below the clip range"):
        build("chebyshev", target=2.0)(scores, terms)
    with pytest.raises(UserError, match="p1"):
        build("chebyshev", target={"p1": 1.0})(scores, terms)
    assert build("chebyshev", target={"p1": 4.0}, rho=0.0)(scores, terms).tolist() == [-1.5]


def test_chebyshev_finds_what_no_weighted_sum_finds() -> None:
    """A point of the front in a dent between two others: no weights make it the best of a weighted sum."""
    scores = make_scores([[3.0, -3.0], [-0.5, -0.5], [-3.0, 3.0]])
    shares = np.linspace(0.01, 0.99, 99)
    weights = [make_terms(weight=[share, 1 - share]) for share in shares]
    assert all(int(np.argmax(build("weighted")(scores, terms))) != 1 for terms in weights)
    assert any(int(np.argmax(build("chebyshev")(scores, terms))) == 1 for terms in weights)


def test_uncertainty_is_monotone_up_to_its_bound() -> None:
    generator = np.random.default_rng(0)
    terms = make_terms(weight=[0.5, 0.3, 0.2])
    bound = math.sqrt(0.2 / 0.8)
    values = generator.uniform(-3, 3, (4000, 3)).astype(np.float32)
    falls = {}
    for lam in (bound, 2 * bound):
        scalarizer, fell = build("uncertainty_weighted", lam=lam), 0.0
        for column in range(3):
            raised = values.copy()
            raised[:, column] += 0.1
            fell = min(
                fell, float((scalarizer(make_scores(raised), terms) - scalarizer(make_scores(values), terms)).min())
            )
        falls[lam] = fell
    assert falls[bound] > -1e-5
    assert falls[2 * bound] < -1e-3


def test_uncertainty_of_an_ensemble() -> None:
    scores = replace(make_scores([[1.0, 2.0]]), spread=np.array([[0.5, 1.0]], dtype=np.float32))
    terms = make_terms(weight=[1, 1])
    assert build("uncertainty_weighted", ensemble=True, lam=1.0)(scores, terms).tolist() == [0.75]
    with pytest.raises(ValueError, match="spread"):
        build("uncertainty_weighted", ensemble=True)(make_scores([[1.0, 2.0]]), terms)
    needs_for = OFFERED["uncertainty_weighted"].needs_for
    assert needs_for is not None
    options = OFFERED["uncertainty_weighted"].options
    assert needs_for(options.model_validate({"ensemble": True})) == {"spread"}
    assert needs_for(options()) == frozenset()


def test_single_takes_its_column_whatever_the_dash() -> None:
    scores = replace(make_scores([[1.0, -1.0]]), principles=("be-kind", "p1"))
    assert build("single", principle="be_kind")(scores, make_terms(k=2)).tolist() == [1.0]
    with pytest.raises(UserError, match="no principle 'other'"):
        build("single", principle="other")(scores, make_terms(k=2))


def test_a_gate_is_a_perceptron_read_from_safetensors(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    tensors = {"0.weight": network[0].weight, "0.bias": network[0].bias, "1.weight": network[2].weight}
    tensors = {name: tensor.detach().contiguous() for name, tensor in (tensors | {"1.bias": network[2].bias}).items()}
    save_file(tensors, tmp_path / "gate.safetensors", metadata={"principles": '["p1", "p0", "other"]'})
    generator = np.random.default_rng(1)
    features = generator.normal(size=(7, 6)).astype(np.float32)
    scores = replace(make_scores(generator.uniform(-3, 3, (7, 2)).astype(np.float32)), features=features)
    seen = build("gated", path=str(tmp_path / "gate.safetensors"))(scores, make_terms(k=2))
    with torch.no_grad():
        weights = torch.softmax(network(torch.from_numpy(features))[:, [1, 0]], dim=1).numpy()
    np.testing.assert_allclose(seen, (weights * scores.values).sum(axis=1), rtol=1e-5, atol=1e-6)
    wide = replace(make_scores(np.zeros((7, 3), dtype=np.float32)), features=features)
    with pytest.raises(UserError, match="knows no p2"):
        build("gated", path=str(tmp_path / "gate.safetensors"))(wide, make_terms(k=3))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for name in ("junk.safetensors", "none.safetensors"):
        with pytest.raises(UserError, match="is no gate"):
            build("gated", path=str(tmp_path / name))(scores, make_terms(k=2))
