"""The front and its hypervolume against brute force in plain floats."""

from __future__ import annotations

import math
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from morlaif_analysis.preview.fronts import hypervolume, on_front
from morlaif_analysis.preview.trade_offs import trade_offs
from morlaif_core import Doubles
from tests.helpers.score_grids import alone, grid_of, random_case


def dominates(p: list[float], q: list[float]) -> bool:
    return all(x >= y for x, y in zip(p, q, strict=True)) and p != q


def volume_by_inclusion(points: list[list[float]]) -> float:
    """Volume of the union of boxes from the origin, by inclusion and exclusion over all subsets."""
    boxes = [p for p in points if min(p) > 0]
    return math.fsum(
        (-1) ** (size + 1) * math.prod(min(p[i] for p in subset) for i in range(len(subset[0])))
        for size in range(1, len(boxes) + 1)
        for subset in combinations(boxes, size)
    )


def area_by_sweep(points: list[list[float]]) -> float:
    """Area of the union of rectangles from the origin, exact: from the right, each adds what is above the highest."""
    area = top = 0.0
    for x, y in sorted((p for p in points if min(p) > 0), reverse=True):
        area += x * max(0.0, y - top)
        top = max(top, y)
    return area


@pytest.mark.parametrize("seed", range(3))
def test_front_and_hypervolume_by_loops(seed: int) -> None:
    grid, rewards = random_case(seed)
    found = trade_offs(grid, rewards, seed=0)
    points = {name: [row["mean"] for row in block["scores"].values()] for name, block in found["scalarizers"].items()}
    front = {name for name in points if not any(dominates(other, points[name]) for other in points.values())}
    assert {name for name, block in found["scalarizers"].items() if block["on_front"]} == front
    assert set(found["front"]["names"]) == front
    assert found["front"]["reference"] == found["baseline"]["worst"]
    assert list(found["baseline"]["worst"].values()) == pytest.approx(grid.values.min(axis=1).mean(axis=0).tolist())
    origin = list(found["baseline"]["worst"].values())
    gains = {name: [x - y for x, y in zip(points[name], origin, strict=True)] for name in front}
    volume = volume_by_inclusion(list(gains.values()))
    assert found["front"]["hypervolume"] == pytest.approx(volume, rel=1e-8)
    for name, block in found["scalarizers"].items():
        without = volume_by_inclusion([row for other, row in gains.items() if other != name])
        assert block["hypervolume_share"] == pytest.approx((volume - without) / volume, abs=1e-8)


POINTS = st.integers(1, 7).flatmap(
    lambda k: arrays(np.float64, st.tuples(st.integers(1, 8), st.just(k)), elements=st.integers(-2, 4).map(float))
)


@settings(deadline=None)
@given(POINTS)
def test_the_front_by_a_double_loop(points: Doubles) -> None:
    rows = points.tolist()
    assert on_front(points).tolist() == [not any(dominates(other, row) for other in rows) for row in rows]


@settings(deadline=None)
@given(POINTS)
def test_hypervolume_by_inclusion_and_exclusion(points: Doubles) -> None:
    rows, (volume, added) = points.tolist(), hypervolume(points, np.zeros(points.shape[1]))
    assert volume == pytest.approx(volume_by_inclusion(rows))
    front = [row for row in rows if not any(dominates(other, row) for other in rows)]
    for row, part in zip(rows, added, strict=True):
        rest = list(front)
        if row in rest:
            rest.remove(row)
        assert part == pytest.approx(volume - volume_by_inclusion(rest), abs=1e-9)


@settings(deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-1, 3)))
def test_hypervolume_in_the_plane_by_a_sweep(points: Doubles) -> None:
    assert hypervolume(points, np.zeros(2))[0] == pytest.approx(area_by_sweep(points.tolist()), abs=1e-9)


def test_hypervolume_in_space_by_monte_carlo() -> None:
    points = np.random.default_rng(0).dirichlet([2, 2, 2], size=40)
    drawn = np.random.default_rng(1).random((200_000, 3))
    inside = (drawn[:, None, :] < points[None, :, :]).all(axis=2).any(axis=1).mean()
    error = math.sqrt(inside * (1 - inside) / len(drawn))
    assert hypervolume(points, np.zeros(3))[0] == pytest.approx(inside, abs=5 * error)


def test_hypervolume_cut_into_parts_is_that_of_moocore() -> None:
    import moocore

    points = np.abs(np.random.default_rng(0).normal(size=(20, 9)))
    points = moocore.filter_dominated(points, maximise=True)
    assert len(points) > 13
    volume, added = hypervolume(points + 1.0, np.ones(9))
    assert volume == pytest.approx(moocore.hypervolume(points, ref=0.0, maximise=True), rel=1e-9)
    np.testing.assert_allclose(added, moocore.hv_contributions(points, ref=0.0, maximise=True), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_the_unit_of_the_scores_does_not_change_the_shares(scale: float) -> None:
    points = np.random.default_rng(0).uniform(1, 2, (15, 8))
    volume, added = hypervolume(points, np.zeros(8))
    scaled, scaled_added = hypervolume(points * scale, np.zeros(8))
    assert scaled == pytest.approx(volume * scale**8, rel=1e-6)
    np.testing.assert_allclose(scaled_added / scaled, added / volume, rtol=1e-6)
    assert (added > 0).sum() > 10


def test_thirty_points_in_twelve_dimensions_are_fast() -> None:
    points = np.abs(np.random.default_rng(0).normal(size=(30, 12)))
    start = time.process_time()
    volume, added = hypervolume(points, np.zeros(12))
    assert time.process_time() - start < 30
    assert 0 < added.sum() < volume


def test_a_front_without_volume_has_no_shares() -> None:
    first = np.random.default_rng(0).normal(size=(50, 4))
    grid = grid_of(np.stack([first, -first], axis=2))
    found = trade_offs(grid, alone(grid), 0)
    assert found["front"]["hypervolume"] == 0
    assert found["front"]["notes"] == ["no choice is better than the worst response under every principle that varies"]
    assert [block["hypervolume_share"] for block in found["scalarizers"].values()] == [None, None]


def test_equal_choices_are_on_the_front_together_and_add_nothing_alone() -> None:
    grid, rewards = random_case(0)
    found = trade_offs(grid, {**rewards, "sum again": 2 * rewards["sum"] + 1}, 0)
    for name in ("sum", "sum again"):
        assert found["scalarizers"][name]["on_front"]
        assert found["scalarizers"][name]["hypervolume_share"] == 0
    assert trade_offs(grid, rewards, 0)["scalarizers"]["sum"]["hypervolume_share"] > 0
    assert found["front"]["hypervolume"] == trade_offs(grid, rewards, 0)["front"]["hypervolume"]
