"""Each scalarizer against its formula, written anew for one row in plain Python floats, and against its limits."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from morlaif_core import Scalarizer, ScoreMatrix, Terms, UserError
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers

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


@pytest.mark.parametrize(
    ("name", "options", "formula"), FORMULAS, ids=lambda value: "" if callable(value) else str(value)[:40]
)
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
    dashed = replace(scores, principles=("p0", "my-style"))
    for target in ({"my-style": 9.0}, {"my_style": 9.0}):
        assert build("chebyshev", target=target, rho=0.0)(dashed, terms).tolist() == [-4.0]


@pytest.mark.parametrize(
    ("q", "k", "lowest"),
    [(1e-10, 1, 1), (1e-10, 12, 1), (1 / 3, 3, 1), (0.1 * 3, 10, 3), (0.7 * 0.1, 100, 7), (1, 5, 5)],
)
def test_lower_quantile_counts_one_principle_at_least_whatever_rounding_says(q: float, k: int, lowest: int) -> None:
    row = [float(place) for place in range(k)]
    expected = statistics.fmean(row[:lowest])
    assert build("lower_quantile", q=q)(make_scores([row]), make_terms(k=k)).tolist() == [expected]


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
