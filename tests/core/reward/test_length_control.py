"""Length control: what is left of a score says nothing of length, and what is not length stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.length_control import fit_length_control, log_lengths
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.testing import make_scores
from morlaif_core.types import ScoreMatrix

GENERATOR = np.random.default_rng(0)
TEXTS = ["x" * int(n) for n in GENERATOR.integers(5, 400, 500)]
QUALITY = GENERATOR.normal(0, 1, 500)
RAW = make_scores(np.stack([QUALITY + 1.5 * log_lengths(TEXTS), QUALITY], axis=1).astype(np.float32), ("long", "good"))


def test_what_is_left_is_uncorrelated_with_length_and_keeps_its_mean() -> None:
    control = fit_length_control(RAW, TEXTS)
    left = control.remove(RAW, TEXTS)
    for column in left.values.T:
        assert abs(np.corrcoef(column, log_lengths(TEXTS))[0, 1]) < 1e-5
    np.testing.assert_allclose(left.values.mean(axis=0), RAW.values.mean(axis=0), rtol=1e-4)
    assert control.slopes == pytest.approx(np.polyfit(log_lengths(TEXTS), RAW.values.astype(float), 1)[0], rel=1e-5)
    assert np.corrcoef(left.values[:, 0], QUALITY)[0, 1] > 0.99


def test_one_length_explains_nothing() -> None:
    same = make_scores([[1.0], [2.0]])
    assert fit_length_control(same, ["ab", "cd"]).slopes == (0.0,)


def test_it_is_part_of_the_calibration_and_saved_with_it(tmp_path: Path) -> None:
    control = fit_length_control(RAW, TEXTS)
    calibration = Calibration("std", 3.0, ("long", "good"), (0.0, 0.0), (1.0, 1.0), length=control)
    calibration.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again == calibration
    np.testing.assert_array_equal(again.apply(RAW, TEXTS)[0].values, calibration.apply(RAW, TEXTS)[0].values)
    with pytest.raises(ScoreError, match="0 responses for 500 rows"):
        again.apply(RAW)


def test_a_principle_that_failed_is_named_and_no_mean_is_made_of_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    responses, ids = ["x" * n for n in range(6)], tuple("abcdef")
    failed = values.copy()
    failed[:, 1] = np.nan
    with pytest.raises(ScoreError, match="broken"):
        fit_length_control(ScoreMatrix(failed, ("good", "broken"), ids), responses)
    values[::2, 0] = values[1::2, 1] = np.nan
    with pytest.raises(ScoreError, match="under every principle"):
        fit_length_control(ScoreMatrix(values, ("one", "other"), ids), responses)
