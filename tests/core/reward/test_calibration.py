"""Calibration: the slope against other solvers, floors and fallbacks, the clip, and exact files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from morlaif_core.errors import RunFailed
from morlaif_core.reward.calibration import SCALE_FLOOR, SLOPE_FLOOR, Calibration, fit_calibration, fit_slope
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.reward.soft_clip import undo_soft_clip
from morlaif_core.testing import make_scores


def pairs(slope: float, m: int, seed: int, *, hard: bool) -> tuple[np.ndarray, np.ndarray]:
    """Differences and labels of a judge with a known slope."""
    rng = np.random.default_rng(seed)
    d = rng.normal(0, 1.5, m)
    p = expit(slope * d)
    return d, (rng.random(m) < p).astype(float) if hard else p


@pytest.mark.parametrize("slope", [0.3, 1.0, 4.0])
def test_soft_labels_give_the_slope_exactly(slope: float) -> None:
    d, p = pairs(slope, 50, 0, hard=False)
    assert fit_slope(d, p) == (pytest.approx(slope, rel=1e-9), False)


def test_hard_labels_give_the_slope_within_its_error() -> None:
    d, p = pairs(0.7, 20_000, 1, hard=True)
    assert fit_slope(d, p)[0] == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_against_a_general_optimiser_in_float64(seed: int) -> None:
    d, p = pairs(0.8, 60, seed, hard=True)
    p = np.where(np.random.default_rng(seed).random(60) < 0.2, 0.5, p)  # ties among them

    def loss(b: np.ndarray) -> float:
        q = np.clip(expit(b[0] * d), 1e-300, 1)
        return -float(np.sum(xlogy(p, q) + xlogy(1 - p, np.clip(expit(-b[0] * d), 1e-300, 1))))

    best = minimize(loss, np.zeros(1), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert fit_slope(d, p)[0] == pytest.approx(best.x[0], rel=1e-5)


def test_against_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    d, p = pairs(1.2, 300, 7, hard=True)
    model = linear_model.LogisticRegression(C=1e10, fit_intercept=False, tol=1e-10, max_iter=1000)
    model.fit(d[:, None], p.astype(int))
    assert fit_slope(d, p)[0] == pytest.approx(model.coef_[0, 0], rel=1e-4)


@given(st.integers(0, 1000), st.booleans())
def test_swapping_a_and_b_changes_nothing(seed: int, hard: bool) -> None:
    d, p = pairs(0.9, 30, seed, hard=hard)
    turned = np.random.default_rng(seed).random(30) < 0.5
    swapped = fit_slope(np.where(turned, -d, d), np.where(turned, 1 - p, p))
    assert swapped[0] == pytest.approx(fit_slope(d, p)[0], rel=1e-6)


def test_separated_labels_give_a_finite_slope() -> None:
    d = np.linspace(-2, 2, 40)
    slope, smoothed = fit_slope(d, (d > 0).astype(float))
    assert smoothed
    assert 0 < slope < 30


def fitted(method: str, *, slope: float = 2.0, m: int = 60, reference: np.ndarray | None = None) -> Calibration:
    rng = np.random.default_rng(3)
    values = rng.normal(5, 2, (200, 1)) if reference is None else reference
    d, p = pairs(slope, m, 3, hard=False)
    return fit_calibration(method, 3.0, make_scores(values, ["kind"]), {"kind": d}, {"kind": p})  # type: ignore[arg-type]


def test_platt_makes_one_unit_one_logit() -> None:
    calibration = fitted("platt")
    assert calibration.scale[0] == pytest.approx(0.5, rel=1e-6)
    assert calibration.notes == ()
    raw = make_scores([[calibration.location[0]], [calibration.location[0] + 0.5]], ["kind"])
    r = calibration.apply(raw)[0].values[:, 0]
    assert r[0] == pytest.approx(0, abs=1e-6)
    assert r[1] == pytest.approx(3 * np.tanh(1 / 3), rel=1e-5)


def test_std_and_none() -> None:
    values = np.random.default_rng(3).normal(5, 2, (200, 1))
    std = fitted("std", reference=values)
    assert std.scale[0] == pytest.approx(values.std(), rel=1e-6)
    none = fitted("none", reference=values)
    assert (none.location, none.scale) == ((0.0,), (1.0,))
    assert none.apply(make_scores([[1.0]], ["kind"]))[0].values[0, 0] == pytest.approx(3 * np.tanh(1 / 3))


@pytest.mark.parametrize("slope", [-1.5, 0.0, 1e-4])
def test_a_model_that_does_not_predict_counts_for_little(slope: float) -> None:
    calibration = fitted("platt", slope=slope)
    assert calibration.scale[0] == pytest.approx(2 / SLOPE_FLOOR, rel=0.2)
    assert "kind" in calibration.notes[0]
    assert "do not predict" in calibration.notes[0]


def test_a_model_that_does_not_predict_counts_for_little_under_std_too() -> None:
    assert fitted("std", slope=-1.5).scale[0] == pytest.approx(2 / SLOPE_FLOOR, rel=0.2)
    assert "do not predict" in fitted("std", slope=-1.5).notes[0]
    assert fitted("std", slope=0.05).notes == ()  # few logits, as of a cautious judge, are no sign of a bad model


def test_too_few_pairs_fall_back_to_the_deviation() -> None:
    calibration = fitted("platt", m=3)
    assert calibration.scale[0] == pytest.approx(2, rel=0.2)
    assert "only 3" in calibration.notes[0]
    nothing = fit_calibration("platt", 3.0, make_scores([[1.0], [2.0]]), {}, {})
    assert nothing.scale == (0.5,)


@pytest.mark.parametrize("method", ["platt", "std"])
def test_constant_scores_meet_the_floor(method: str) -> None:
    calibration = fit_calibration(method, 3.0, make_scores([[1.0], [1.0], [1.0]]), {}, {})  # type: ignore[arg-type]
    assert calibration.scale == (SCALE_FLOOR,)
    assert "floor" in calibration.notes[0]
    assert np.isfinite(calibration.apply(make_scores([[1e4], [-1e4]]))[0].values).all()


@pytest.mark.parametrize("method", ["platt", "std"])
@given(st.integers(0, 1000), st.floats(-6, 6), st.floats(-20, 20), st.booleans())
def test_the_size_of_raw_scores_changes_nothing(
    method: str, seed: int, power: float, offset: float, informative: bool
) -> None:
    rng, size = np.random.default_rng(seed), 10.0**power
    values, d = rng.normal(offset, 1, (50, 1)), rng.normal(0, 1.5, 40)
    p = expit(2 * d) if informative else rng.random(40)

    def calibrated(size: float) -> np.ndarray:
        raw = make_scores(values * size)
        calibration = fit_calibration(method, 3.0, raw, {"p0": d * size}, {"p0": p})  # type: ignore[arg-type]
        assert not any("hardly differ" in note for note in calibration.notes)
        return calibration.apply(raw)[0].values

    np.testing.assert_allclose(calibrated(size), calibrated(1.0), atol=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_scores_that_differ_by_rounding_alone_meet_the_floor(size: float) -> None:
    values = size * (1 + 1e-7 * np.arange(4.0)[:, None])
    calibration = fit_calibration("std", 3.0, make_scores(values), {}, {})
    assert calibration.scale[0] == pytest.approx(SCALE_FLOOR * size, rel=1e-3)
    assert "hardly differ" in calibration.notes[0]
    assert np.abs(calibration.apply(make_scores(values))[0].values).max() < 0.1


@given(arrays(np.float64, 20, elements=st.floats(-50, 50), unique=True), st.floats(0.5, 10))
def test_the_soft_clip_keeps_order_and_bounds(raw: np.ndarray, clip: float) -> None:
    calibration = Calibration("std", clip, ("p0",), (1.0,), (2.0,))
    raw = np.sort(raw)
    scores, share = calibration.apply(make_scores(raw[:, None]))
    r = scores.values[:, 0]
    assert (np.diff(r) >= 0).all()
    assert (np.abs(r) <= np.float32(clip)).all()
    assert share == pytest.approx(np.mean(np.abs((raw.astype(np.float32).astype(float) - 1) / 2) > clip))
    z = (raw - 1) / 2
    middle = np.abs(z) < 2 * clip
    np.testing.assert_allclose(undo_soft_clip(r, calibration.clip)[middle], z[middle], rtol=1e-2, atol=1e-4)


def test_columns_are_found_by_name_and_nothing_is_dropped() -> None:
    calibration = Calibration("none", 3.0, ("b", "a"), (0.0, 0.0), (1.0, 1.0))
    scores, _ = calibration.apply(make_scores([[1.0, 2.0, 0.5]], ["a", "b", "c"]))
    assert scores.principles == ("b", "a")
    np.testing.assert_allclose(scores.values, 3 * np.tanh(np.array([[2.0, 1.0]]) / 3), rtol=1e-6)
    with pytest.raises(ScoreError, match="b"):
        calibration.apply(make_scores([[1.0]], ["a"]))


@pytest.mark.parametrize("method", ["platt", "std"])
@given(st.integers(0, 1000), st.floats(0.3, 5), st.floats(-4, 4))
def test_the_mean_of_the_reference_is_zero_after_the_clip(method: str, seed: int, clip: float, power: float) -> None:
    """Of skewed scores too, whose soft clip takes more from one side than from the other."""
    rng = np.random.default_rng(seed)
    values = 10.0**power * (rng.lognormal(0, 1, (80, 1)) + 3)
    d, p = pairs(2.0, 40, seed, hard=True)
    calibration = fit_calibration(method, clip, make_scores(values), {"p0": d * 10.0**power}, {"p0": p})  # type: ignore[arg-type]
    scores, _ = calibration.apply(make_scores(values))
    assert scores.values.astype(np.float64).mean() == pytest.approx(0, abs=1e-6)


def test_an_older_file_keeps_its_zero(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    units = {"kind": {"location": 1.5, "scale": 0.5}}  # 1.5: the mean of the raw scores, before the clip
    file.write_text(json.dumps({"format": 1, "method": "platt", "clip": 2.0, "principles": units, "notes": []}))
    calibration = Calibration.load(file)
    assert calibration.apply(make_scores([[1.5], [2.0]], ["kind"]))[0].values[:, 0].tolist() == pytest.approx(
        [0, 2 * np.tanh(0.5)]
    )


def test_scores_that_failed_are_no_part_of_a_fit() -> None:
    """NaN marks a score that failed: zero and unit are those of the others."""
    rng = np.random.default_rng(0)
    values, (d, p) = rng.normal(1, 2, (60, 1)), pairs(1.3, 50, 0, hard=True)
    holes, lost = values.copy(), d.copy()
    holes[::7], lost[::5] = np.nan, np.nan
    for method in ("platt", "std"):
        found, wanted = (
            fit_calibration(method, 3.0, make_scores(v), {"p0": a}, {"p0": b})  # type: ignore[arg-type]
            for v, a, b in ((holes, lost, p), (values[~np.isnan(holes[:, 0])], d[~np.isnan(lost)], p[~np.isnan(lost)]))
        )
        assert found == wanted
    scores, share = found.apply(make_scores(holes))
    np.testing.assert_array_equal(np.isnan(scores.values), np.isnan(holes))
    assert 0 <= share <= 1
    with pytest.raises(ScoreError, match="principle p0"):
        found.apply(make_scores([[np.nan], [np.nan]]))


@pytest.mark.parametrize("bad", [-np.inf, np.inf])
def test_what_is_no_number_is_named(bad: float) -> None:
    values = np.zeros((3, 2))
    values[2, 1] = bad
    with pytest.raises(ScoreError, match=r"principle p1 in row 2 \(prompt prompt-2\)"):
        Calibration("none", 3.0, ("p0", "p1"), (0.0, 0.0), (1.0, 1.0)).apply(make_scores(values))
    with pytest.raises(ScoreError, match="p1"):
        fit_calibration("std", 3.0, make_scores(values), {}, {})


def test_labels_are_checked() -> None:
    reference = make_scores([[0.0], [1.0]])
    for d, p in itertools.product(([0.1], [np.nan]), ([1.5], [0.5, 0.5])):
        with pytest.raises(ScoreError, match="p0"):
            fit_calibration("platt", 3.0, reference, {"p0": np.array(d)}, {"p0": np.array(p)})


def test_empty_and_single_batches() -> None:
    calibration = Calibration("none", 3.0, ("p0", "p1"), (0.0, 0.0), (1.0, 1.0))
    scores, share = calibration.apply(make_scores(np.zeros((0, 2))))
    assert scores.values.shape == (0, 2)
    assert share == 0
    with pytest.raises(ScoreError, match="two reference"):
        fit_calibration("std", 3.0, make_scores([[1.0]]), {}, {})


number = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(number, st.floats(1e-3, 1e6)), min_size=1, max_size=4), st.floats(0.1, 10))
def test_files_keep_every_bit(
    tmp_path_factory: pytest.TempPathFactory, units: list[tuple[float, float]], clip: float
) -> None:
    location, scale = zip(*units, strict=True)
    names = tuple(f"principle-{place}" for place in range(len(units)))
    calibration = Calibration("platt", clip, names, location, scale, ("a note",))
    file = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration.save(file)
    assert Calibration.load(file) == calibration
    assert [item.name for item in file.parent.iterdir()] == ["calibration.json"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    for text, word in ((None, "missing"), ("{", "damaged"), ('{"format": 99}', "format")):
        if text is not None:
            file.write_text(text)
        with pytest.raises(RunFailed, match=word):
            Calibration.load(file)


def test_a_dead_model_stays_flat_whatever_its_labels() -> None:
    """Scores that differ by rounding alone fit any labels by chance; the unit must not become that small."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        raw = (0.7 + 1e-7 * rng.normal(size=(120, 1))).astype(np.float32)
        d = raw[:60, 0] - raw[60:, 0]
        labels = rng.integers(0, 2, 60).astype(np.float32)
        reference = make_scores(raw)
        found = fit_calibration("platt", 3.0, reference, {"p0": d}, {"p0": labels})
        scores, _ = found.apply(reference)
        assert scores.values.std() < 0.02
        assert "hardly differ" in found.notes[0]
