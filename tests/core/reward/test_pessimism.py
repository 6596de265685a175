"""Deviations taken off uncertain scores: within the clip, in order, and only where a score counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from morlaif_core.reward.pessimism import pessimistic
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.testing import make_scores

CLIP = 3.0
Z = st.floats(-6, 6)


@given(Z, st.floats(0, 4), st.floats(0, 3))
def test_it_is_the_lower_bound_before_the_clip(z: float, spread: float, deviations: float) -> None:
    scores = make_scores([[CLIP * np.tanh(z / CLIP)]], ["a"])
    scores = replace(scores, spread=np.array([[spread]], dtype=np.float32))
    found = float(pessimistic(scores, deviations, CLIP, ["a"]).values[0, 0])
    assert found == pytest.approx(CLIP * np.tanh((z - deviations * spread) / CLIP), abs=2e-5)
    assert -CLIP <= found <= float(scores.values[0, 0]) + 1e-6


def test_none_is_taken_off_without_pessimism_and_of_what_does_not_count() -> None:
    plain = make_scores([[1.0, 2.0], [0.0, -1.0]], ["a", "b"])
    assert pessimistic(plain, 0.0, CLIP, ["a"]) is plain
    known = replace(plain, spread=np.array([[0.5, np.nan], [0.0, np.nan]], dtype=np.float32))
    found = pessimistic(known, 1.0, CLIP, ["a"]).values
    assert found[0, 0] < 1.0
    assert found[1, 0] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_array_equal(found[:, 1], plain.values[:, 1])


def test_a_score_that_failed_stays_failed_and_a_spread_that_is_lacking_is_told() -> None:
    scores = make_scores([[np.nan], [1.0]], ["a"])
    with pytest.raises(ScoreError, match=r"reward\.pessimism needs a spread"):
        pessimistic(scores, 1.0, CLIP, ["a"])
    with pytest.raises(ScoreError, match=r"reward\.pessimism needs a spread"):
        pessimistic(replace(scores, spread=np.array([[0.1], [np.nan]], dtype=np.float32)), 1.0, CLIP, ["a"])
    found = pessimistic(replace(scores, spread=np.array([[np.nan], [0.1]], dtype=np.float32)), 1.0, CLIP, ["a"])
    assert np.isnan(found.values[0, 0])
    assert found.values[1, 0] < 1.0
