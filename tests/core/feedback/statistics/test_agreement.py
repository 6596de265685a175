"""Agreement between judges against published hand tables, scikit-learn and what theory says of known judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core.feedback.statistics.agreement import cohen_kappa, effective_judges, krippendorff_alpha, panel_block
from morlaif_judge_check.families import model_family, one_family

# One row per observer, a dot where there is no value. The first three: Krippendorff, "Computing Krippendorff's
# Alpha-Reliability" (2011), sections A (binary), B (nominal) and C (four observers, missing data); the last:
# Wikipedia's article (three coders, missing data).
TABLES = {
    0.095: ["0100000010", "1110010000"],
    0.692: ["aabbdcccedda", "babbbccceddd"],
    0.743: ["123321412...", "1233224125.3", ".3332342251.", "12332441251."],
    0.691: [".....34121133.3", "1.213343.......", "..21344.21133.4"],
}


def coded(rows: list[str]) -> Any:
    """Characters -> labels (units, observers), -1 where there is none."""
    kinds = sorted(set("".join(rows)) - {"."})
    return np.array([[kinds.index(value) if value != "." else -1 for value in row] for row in rows]).T


@pytest.mark.parametrize("alpha", TABLES)
def test_alpha_is_that_of_the_published_tables(alpha: float) -> None:
    labels = coded(TABLES[alpha])
    found = krippendorff_alpha(labels, np.arange(len(labels)))
    assert found is not None
    assert found.mean == pytest.approx(alpha, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < alpha < found.high


def test_kappa_is_that_of_a_hand_table() -> None:
    """Wikipedia's table 20, 5, 10, 15 has kappa 0.4."""
    one = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    other = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    found = cohen_kappa(one, other, np.arange(50))
    assert found is not None
    assert found.mean == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.4 < found.high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=12))
def test_with_two_judges_and_no_gaps_alpha_is_kappa_but_for_small_samples(pairs: list[tuple[int, int]]) -> None:
    """Krippendorff's alpha of two is Scott's pi corrected for n: 1 - (1 - pi) (2n - 1) / 2n."""
    labels = np.array(pairs)
    found = krippendorff_alpha(labels, np.arange(len(pairs)))
    if len(np.unique(labels)) < 2:
        assert found is None
        return
    assert found is not None
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    chance = float((shares**2).sum())
    pi = ((labels[:, 0] == labels[:, 1]).mean() - chance) / (1 - chance)
    assert found.mean == pytest.approx(1 - (1 - pi) * (labels.size - 1) / labels.size)


def test_without_a_label_nothing_is_said_and_nothing_fails() -> None:
    none = np.full((4, 3), -1)
    assert krippendorff_alpha(none, np.arange(4)) is None
    block = panel_block(["x", "y", "z"], none, np.full((4, 3), np.nan), np.arange(4))
    assert block["alpha"] is None
    assert block["effective_judges"] is None
    assert set(block["kappa"].values()) == {None}


def test_all_labels_equal_is_undefined_with_its_reason() -> None:
    """A judge that always names the same place ties in both orders everywhere: agreement says nothing."""
    labels, p = np.ones((30, 2), dtype=int), np.full((30, 2), 0.5)
    block = panel_block(["x", "y"], labels, p, np.arange(30))
    assert block["kappa"] == {"x, y": None}
    assert block["alpha"] is None
    assert block["effective_judges"] is None
    assert all("equal" in block["notes"][name] for name in ("kappa of x, y", "alpha"))
    assert "do not vary" in block["notes"]["effective_judges"]


def judges(seed: int, n: int = 1500) -> dict[str, Any]:
    """P(a is better) of judges that theory knows, on n pairs of which a is the longer in half."""
    draw = np.random.default_rng(seed)
    longer = np.where(np.arange(n) % 2 == 0, 0.9, 0.1)
    coins = np.where(draw.random((2, n)) < 0.5, 0.9, 0.1)
    return {"longer": longer, "coin": coins[0], "other coin": coins[1], "shorter": 1 - longer}


@pytest.mark.parametrize(
    ("one", "other", "kappa", "worth"),
    [
        ("longer", "longer", 1.0, 1.0),
        ("longer", "shorter", -1.0, 2.0),
        ("longer", "coin", 0.0, 2.0),
        ("coin", "other coin", 0.0, 2.0),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_known_judges_score_what_theory_says(one: str, other: str, kappa: float, worth: float, seed: int) -> None:
    known = judges(seed)
    p = np.stack([known[one], known[other]], axis=1)
    labels = np.where(p > 0.5, 2, 0)
    prompts = np.arange(len(p))
    block = panel_block(["x", "y"], labels, p, prompts)
    assert block["kappa"]["x, y"]["mean"] == pytest.approx(kappa, abs=0.07)
    assert block["alpha"]["mean"] == pytest.approx(kappa, abs=0.07)
    assert block["effective_judges"]["mean"] == pytest.approx(worth, abs=0.13)


def test_one_that_always_names_a_against_a_coin() -> None:
    """Where only one order is asked, a judge of one place says a or b by the order drawn; one label alone has kappa 0."""
    draw = np.random.default_rng(0)
    coin = draw.integers(0, 2, 500)
    found = cohen_kappa(np.zeros(500, dtype=int), coin, np.arange(500))
    assert found is not None
    assert found.mean == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_effective_judges_of_equally_correlated_members(rho: float) -> None:
    draw = np.random.default_rng(1)
    shared = draw.normal(size=(1500, 1))
    values = np.sqrt(rho) * shared + np.sqrt(1 - rho) * draw.normal(size=(1500, 5))
    values[draw.random(values.shape) < 0.1] = np.nan
    found = effective_judges(values, np.arange(1500))
    assert found is not None
    assert found.mean == pytest.approx(5 / (1 + 4 * rho), rel=0.1)


def test_intervals_of_agreement_cover_the_truth() -> None:
    """300 panels of two on 40 prompts, three pairs each that hang together: BCa over prompts holds the true values."""
    draw = np.random.default_rng(2)
    prompts = np.repeat(np.arange(40), 3)
    held = {"kappa": 0, "worth": 0}
    for _ in range(300):
        truth = np.repeat(draw.integers(0, 2, 40), 3)
        # Each judge is wrong in 1 of 5: they agree in 0.68 of the pairs, kappa 0.36, correlation 0.36.
        p = np.stack([np.where(draw.random(120) < 0.2, 1 - truth, truth) for _ in range(2)], axis=1)
        kappa = cohen_kappa(p[:, 0], p[:, 1], prompts)
        worth = effective_judges(p.astype(float), prompts)
        assert kappa is not None
        assert worth is not None
        held["kappa"] += bool(kappa.low is not None and kappa.high is not None and kappa.low <= 0.36 <= kappa.high)
        held["worth"] += bool(worth.low is not None and worth.high is not None and worth.low <= 2 / 1.36 <= worth.high)
    assert all(0.91 <= count / 300 <= 0.98 for count in held.values()), held


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-2024-08-06", "gpt"),
        ("https://api.openai.com/v1 o3-mini", "gpt"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama"),
        ("claude-sonnet-4", "claude"),
        ("mistralai/Mixtral-8x7B", "mistral"),
        ("4", "4"),
    ],
)
def test_families(model: str, family: str) -> None:
    assert model_family(model) == family


def test_members_of_one_family_are_warned_of() -> None:
    assert one_family({"x": "gpt-4o", "y": "claude-sonnet-4"}) is None
    warning = one_family({"x": "gpt-4o", "y": "claude-sonnet-4", "z": "o3-mini"})
    assert warning is not None
    assert "x and z (gpt)" in warning
