"""What is measured of a preference model beside its accuracy, against independent arithmetic and known cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core import Preference, make_prompt
from morlaif_core.stages.pm_quality import correlations, flat, quality
from morlaif_core.testing import make_scores
from morlaif_core.types import Doubles, Floats

NONE: tuple[Floats, list[Preference]] = (np.zeros(0, dtype=np.float32), [])


def pairs(p_a: Doubles, words: Sequence[tuple[int, int]] | None = None) -> list[Preference]:
    lengths = words or [(3, 3)] * len(p_a)
    return [
        Preference(make_prompt(f"prompt {row}"), " ".join(["x"] * a), " ".join(["y"] * b), float(p))
        for row, (p, (a, b)) in enumerate(zip(p_a, lengths, strict=True))
    ]


def floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float32)


def sigmoid(z: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-z)))


def drawn(n: int, scale: float, seed: int) -> tuple[Floats, list[Preference]]:
    """Differences d, and labels of which sigma(scale d) is the probability."""
    draw = np.random.default_rng(seed)
    d = draw.normal(size=n)
    return d.astype(np.float32), pairs((draw.random(n) < sigmoid(scale * d)).astype(float))


def test_a_calibrated_model_has_little_error_and_one_that_is_too_sure_has_much() -> None:
    held_out, judged, reference = drawn(4000, 2.0, 0), drawn(4000, 2.0, 1), floats([-1.0, 1.0])
    good = quality(held_out, judged, reference)
    assert good["ece"] < 0.02
    assert good["spread"] == pytest.approx(2.0, rel=0.1)
    sure = quality(held_out, drawn(4000, 12.0, 1), reference)
    assert sure["ece"] > 0.1
    assert sure["brier"] > good["brier"] + 0.02
    p = sigmoid(good["spread"] * held_out[0].astype(float))  # the reference's deviation is 1
    labels = np.array([item.p_a for item in held_out[1]])
    assert good["brier"] == pytest.approx(np.mean((p - labels) ** 2), abs=1e-9)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_which_response_stands_first_says_nothing(seed: int) -> None:
    d, rows = drawn(60, 1.0, seed)
    judged = drawn(60, 1.0, seed + 1)
    turned = [Preference(item.prompt, item.b, item.a, 1 - item.p_a) for item in rows]
    one, other = (quality(each, judged, floats([0, 1])) for each in ((d, rows), (-d, turned)))
    for name in ("brier", "ece", "spread"):
        assert one[name] == pytest.approx(other[name], abs=1e-9)
    assert one["length_matched"] == other["length_matched"]


def test_easy_and_hard_pairs_and_pairs_of_like_length() -> None:
    p_a = np.array([0.55, 0.6, 0.7, 0.8, 0.9, 0.95])
    d = floats([-1, 1, -1, 1, 1, 1])
    words = [(10, 10), (10, 9), (10, 8), (10, 7), (5, 10), (1, 9)]
    found = quality((d, pairs(p_a, words)), NONE, floats([0, 1]))
    hard = found["by_margin"]["least_sure"]
    assert (hard["from"], hard["to"], hard["n"], hard["accuracy"]) == (pytest.approx(0.05), pytest.approx(0.1), 2, 0.5)
    assert found["by_margin"]["most_sure"]["accuracy"] == 1.0
    assert (found["length_matched"]["n"], found["length_matched"]["accuracy"]) == (3, pytest.approx(1 / 3))
    assert (found["brier"], found["ece"], found["spread"]) == (None, None, None), "no calibration pair was judged"
    letters = quality((d, pairs(np.where(p_a > 0.5, 1.0, 0.0))), NONE, floats([0, 1]))
    assert letters["by_margin"] is None


def test_failed_scores_count_for_nothing() -> None:
    d, rows = drawn(40, 1.0, 3)
    judged, reference = drawn(40, 1.0, 4), floats([0.0, 1.0, 2.0])
    whole = quality((d, rows), judged, reference)
    more = (np.append(d, floats([np.nan])), [*rows, rows[0]])
    assert quality(more, judged, np.append(reference, floats([np.nan]))) == whole


def test_a_flat_model_is_named_however_accurate() -> None:
    blocks: dict[str, dict[str, Any]] = {
        "kind": {"spread": 0.03},
        "brief": {"spread": 1.2},
        "given": {"spread": None},
        "old": {},
    }
    assert flat(blocks).startswith(
        "scores of the untrained model's own answers hardly differ, in logits a deviation: kind (0.03);"
    )
    assert flat({"brief": {"spread": 1.2}}) == ""


def test_correlations_are_pearsons() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    values[7, 1] = np.nan
    scores = make_scores(values.tolist(), ["a", "b", "c"])
    expected = np.corrcoef(np.delete(values, 7, axis=0).astype(float).T)
    found = correlations(scores)
    assert found["a"]["b"] == pytest.approx(expected[0, 1])
    assert found["c"] == {"a": pytest.approx(expected[2, 0]), "b": pytest.approx(expected[2, 1])}
    assert correlations(make_scores([[1.0, 2.0], [1.0, 3.0]], ["a", "b"])) == {"a": {"b": None}, "b": {"a": None}}
    assert correlations(make_scores([[1.0]], ["a"])) == {}


def test_a_model_that_is_always_wrong_is_not_called_calibrated() -> None:
    d = np.random.default_rng(0).normal(size=60)
    wrong = (d.astype(np.float32), pairs(sigmoid(-2 * d)))
    found = quality(wrong, wrong, floats([-1.0, 1.0]))
    assert (found["brier"], found["spread"]) == (pytest.approx(np.mean((sigmoid(-2 * d) - 0.5) ** 2)), 0.0)
    assert found["ece"] > 0.0
    assert "x (0.00)" in flat({"x": found})
