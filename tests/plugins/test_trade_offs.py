"""The maths of a preview against brute force in plain floats, its symmetries, and planted cases."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import time
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from morlaif_analysis.preview.best_of_n import Grid, picks
from morlaif_analysis.preview.bootstrap import intervals
from morlaif_analysis.preview.fronts import hypervolume, on_front
from morlaif_analysis.preview.trade_offs import conflict, trade_offs

Doubles = NDArray[np.float64]
LETTERS = "abcdefghijkl"
SLOW = settings(max_examples=40, deadline=None)


def grid_of(values: Any) -> Grid:
    """A grid of prompts x0, x1, … and principles a, b, …."""
    array = np.asarray(values, dtype=np.float64)
    m, _, k = array.shape
    return Grid(array, tuple(LETTERS[:k]), tuple(f"x{i:05d}" for i in range(m)))


def alone(grid: Grid) -> dict[str, Doubles]:
    """Each principle as a choice."""
    return {f"single: {name}": grid.values[:, :, i] for i, name in enumerate(grid.principles)}


def random_case(seed: int, m: int = 30, n: int = 4, k: int = 3) -> tuple[Grid, dict[str, Doubles]]:
    """Normal scores, and the choices single, sum, minimum and one at random."""
    rng = np.random.default_rng(seed)
    grid = grid_of(rng.normal(size=(m, n, k)))
    v = grid.values
    return grid, {**alone(grid), "sum": v.sum(axis=2), "minimum": v.min(axis=2), "noise": rng.normal(size=(m, n)) * 1e6}


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


# Brute force


@pytest.mark.parametrize("seed", range(3))
def test_all_numbers_by_loops(seed: int) -> None:
    grid, rewards = random_case(seed)
    found = trade_offs(grid, rewards, seed=0)
    m, n, _ = grid.values.shape
    v = grid.values.tolist()
    best = {name: [max(range(n), key=lambda r, row=row: row[r]) for row in u.tolist()] for name, u in rewards.items()}
    for i, principle in enumerate(grid.principles):
        random = [math.fsum(v[p][r][i] for r in range(n)) / n for p in range(m)]
        top = [max(v[p][r][i] for r in range(n)) for p in range(m)]
        assert found["baseline"]["random"][principle] == pytest.approx(math.fsum(random) / m, abs=1e-12)
        assert found["baseline"]["best"][principle] == pytest.approx(math.fsum(top) / m, abs=1e-12)
        for name, block in found["scalarizers"].items():
            got = [v[p][best[name][p]][i] for p in range(m)]
            assert block["scores"][principle]["mean"] == pytest.approx(math.fsum(got) / m, abs=1e-12)
            gain = math.fsum(x - y for x, y in zip(got, random, strict=True)) / m
            assert block["gain"][principle]["mean"] == pytest.approx(gain, abs=1e-12)
            lost = math.fsum(y - x for x, y in zip(got, top, strict=True)) / m
            assert block["regret"][principle] == pytest.approx(lost, abs=1e-12)
            assert lost >= 0
    for a, one in enumerate(rewards):
        u = rewards[one].tolist()
        deviation = float(np.std(rewards[one].ravel()))
        for b, other in enumerate(rewards):
            apart = sum(x != y for x, y in zip(best[one], best[other], strict=True)) / m
            assert found["differ"]["share"][a][b] == pytest.approx(apart)
            lost = math.fsum(u[p][best[one][p]] - u[p][best[other][p]] for p in range(m)) / m / deviation
            assert found["regret"]["deviations"][a][b] == pytest.approx(lost, abs=1e-9)
    assert found["differ"]["names"] == found["regret"]["names"] == list(rewards)
    json.dumps(found, allow_nan=False)


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
    start = time.perf_counter()
    volume, added = hypervolume(points, np.zeros(12))
    assert time.perf_counter() - start < 5.0
    assert 0 < added.sum() < volume


# Symmetries


@st.composite
def cases(draw: st.DrawFn) -> tuple[Grid, dict[str, Doubles], np.random.Generator]:
    seed, m, n = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 12)), draw(st.integers(1, 4))
    grid, rewards = random_case(seed, m, n, draw(st.integers(1, 4)))
    return grid, rewards, np.random.default_rng(seed + 1)


@SLOW
@given(cases())
def test_the_order_of_prompts_means_nothing(case: tuple[Grid, dict[str, Doubles], np.random.Generator]) -> None:
    grid, rewards, rng = case
    order = rng.permutation(len(grid.prompt_ids))
    moved = Grid(grid.values[order], grid.principles, tuple(grid.prompt_ids[i] for i in order))
    assert trade_offs(moved, {name: u[order] for name, u in rewards.items()}, 1) == trade_offs(grid, rewards, 1)


@SLOW
@given(cases())
def test_the_order_of_responses_means_nothing(case: tuple[Grid, dict[str, Doubles], np.random.Generator]) -> None:
    grid, rewards, rng = case
    order = rng.permuted(np.tile(np.arange(grid.values.shape[1]), (len(grid.values), 1)), axis=1)
    moved = replace(grid, values=np.take_along_axis(grid.values, order[:, :, None], axis=1))
    shuffled = {name: np.take_along_axis(u, order, axis=1) for name, u in rewards.items()}
    assert_close(trade_offs(moved, shuffled, 1), trade_offs(grid, rewards, 1))


@SLOW
@given(cases())
def test_the_order_of_principles_and_choices_means_nothing(
    case: tuple[Grid, dict[str, Doubles], np.random.Generator],
) -> None:
    grid, rewards, rng = case
    order, places = rng.permutation(len(grid.principles)), rng.permutation(len(rewards))
    moved = Grid(grid.values[:, :, order], tuple(grid.principles[i] for i in order), grid.prompt_ids)
    names = [list(rewards)[i] for i in places]
    found, expected = trade_offs(moved, {name: rewards[name] for name in names}, 1), trade_offs(grid, rewards, 1)
    assert found["principles"] == list(moved.principles)
    for key in ("baseline", "scalarizers"):
        assert_close(as_sets(found[key]), as_sets(expected[key]))
    assert_close(found["conflict"]["correlation"], reordered(expected["conflict"]["correlation"], order))
    for key, table in (("differ", "share"), ("regret", "deviations")):
        assert found[key]["names"] == names
        assert_close(found[key][table], reordered(expected[key][table], places))
    assert set(found["front"]["names"]) == set(expected["front"]["names"])
    assert found["front"]["hypervolume"] == pytest.approx(expected["front"]["hypervolume"], rel=1e-8, abs=1e-15)


def reordered(table: list[list[Any]], order: NDArray[np.int64]) -> list[list[Any]]:
    return [[table[i][j] for j in order] for i in order]


def as_sets(found: Any) -> Any:
    """With sorted lists of names."""
    if isinstance(found, dict):
        return {key: sorted(value) if key == "sacrificed" else as_sets(value) for key, value in found.items()}
    return found


def assert_close(found: Any, expected: Any) -> None:
    """Equal, numbers to rounding, through dictionaries and lists."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)
    else:
        assert found == expected


@SLOW
@given(cases())
def test_a_dominated_choice_leaves_the_front_as_it_is(
    case: tuple[Grid, dict[str, Doubles], np.random.Generator],
) -> None:
    grid, rewards, _ = case
    before = trade_offs(grid, rewards, 1)
    # A response that is worse than all others under every principle, and a choice that always picks it.
    worst = grid.values.min(axis=1, keepdims=True) - 1.0
    longer = replace(grid, values=np.concatenate([grid.values, worst], axis=1))
    more = {name: np.pad(u, ((0, 0), (0, 1)), constant_values=u.min() - 1) for name, u in rewards.items()}
    reference = trade_offs(longer, more, 1)
    found = trade_offs(longer, {**more, "worst": -longer.values.sum(axis=2)}, 1)
    assert found["front"] == reference["front"]
    assert found["front"]["names"] == before["front"]["names"]
    assert not found["scalarizers"]["worst"]["on_front"]
    share = 0 if found["front"]["hypervolume"] > 0 else None
    assert found["scalarizers"]["worst"]["hypervolume_share"] == share
    assert set(found["scalarizers"]["worst"]["sacrificed"]) == (
        set(grid.principles) if len(grid.prompt_ids) > 1 else set()
    )


@SLOW
@given(cases(), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_the_scale_of_a_reward_means_nothing(
    case: tuple[Grid, dict[str, Doubles], np.random.Generator], shift: float, scale: float
) -> None:
    grid, rewards, _ = case
    assert_close(
        trade_offs(grid, {name: scale * u + shift for name, u in rewards.items()}, 1), trade_offs(grid, rewards, 1)
    )


@SLOW
@given(cases())
def test_one_principle_alone_reaches_its_best(case: tuple[Grid, dict[str, Doubles], np.random.Generator]) -> None:
    grid, rewards, _ = case
    found = trade_offs(grid, rewards, 1)
    for name in grid.principles:
        block = found["scalarizers"][f"single: {name}"]
        assert block["regret"][name] == 0
        assert block["scores"][name]["mean"] == pytest.approx(found["baseline"]["best"][name], abs=1e-12)
        assert name not in block["sacrificed"]
    deviations = np.array(found["regret"]["deviations"])
    assert (deviations >= 0).all()
    assert (deviations.diagonal() == 0).all()
    share = np.array(found["differ"]["share"])
    assert (share == share.T).all()
    assert (share.diagonal() == 0).all()


# Planted cases


def test_two_opposed_principles() -> None:
    first = np.random.default_rng(0).normal(size=(200, 8))
    grid = grid_of(np.stack([first, -2 * first + np.arange(200)[:, None]], axis=2))
    found = trade_offs(grid, alone(grid), 0)
    assert found["conflict"]["correlation"][0][1] == pytest.approx(-1)
    assert found["conflict"]["correlation"][0][0] == 1
    assert found["conflict"]["notes"] == []
    assert [block["sacrificed"] for block in found["scalarizers"].values()] == [["b"], ["a"]]
    assert found["differ"]["share"][0][1] == 1
    assert [block["on_front"] for block in found["scalarizers"].values()] == [True, True]


def test_sacrificed_is_who_is_surely_worse_off() -> None:
    grid, rewards = random_case(0)
    found = trade_offs(grid, rewards, 0)["scalarizers"]
    unsure = 0
    for block in found.values():
        ends = {name: row["ci95"] for name, row in block["gain"].items()}
        assert block["sacrificed"] == [name for name, (_, high) in ends.items() if high < 0]
        unsure += sum(low < 0 < high for low, high in ends.values())
        for name, row in block["gain"].items():
            assert ends[name][0] < row["mean"] < ends[name][1]
    assert unsure


def test_what_is_not_in_the_reward_is_measured_alone() -> None:
    first = np.random.default_rng(0).normal(size=(200, 8, 2))
    grid = grid_of(np.concatenate([first, -first[:, :, :1]], axis=2))
    rewards = {"a": first[:, :, 0], "b": first[:, :, 1], "sum": first.sum(axis=2), "neither": -first.sum(axis=2)}
    assert trade_offs(grid, rewards, 0)["scalarizers"]["a"]["sacrificed"] == ["c"]
    found, without = trade_offs(grid, rewards, 0, ["c"]), trade_offs(grid_of(first), rewards, 0)
    assert found["unrewarded"] == ["c"]
    assert without["unrewarded"] == []
    assert found["front"] == without["front"]
    for name, block in found["scalarizers"].items():
        assert block["gain"]["c"]["ci95"] is not None
        for key in ("sacrificed", "on_front", "hypervolume_share"):
            assert block[key] == without["scalarizers"][name][key]
    assert not found["scalarizers"]["neither"]["on_front"]


def test_a_front_without_volume_has_no_shares() -> None:
    first = np.random.default_rng(0).normal(size=(50, 4))
    grid = grid_of(np.stack([first, -first], axis=2))
    found = trade_offs(grid, alone(grid), 0)
    assert found["front"]["hypervolume"] == 0
    assert found["front"]["notes"] == ["no choice is better than the worst response under every principle that varies"]
    assert [block["hypervolume_share"] for block in found["scalarizers"].values()] == [None, None]


def test_what_a_prompt_is_like_does_not_enter_the_conflict() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=(400, 6, 2))
    shared = rng.normal(size=(400, 1, 1)) * 100
    matrix = conflict(grid_of(v + shared))["correlation"]
    centred = (v - v.mean(axis=1, keepdims=True)).reshape(-1, 2)
    assert matrix[0][1] == pytest.approx(np.corrcoef(centred.T)[0, 1], abs=1e-9)
    assert abs(matrix[0][1]) < 0.1


def test_a_principle_that_never_varies_has_no_correlation_and_is_not_sacrificed() -> None:
    rng = np.random.default_rng(0)
    constant = np.full((50, 3), 0.1)
    assert constant[0].mean() > 0.1, "rounding must not sacrifice it"
    grid = grid_of(np.stack([rng.normal(size=(50, 3)), constant], axis=2))
    found = trade_offs(grid, alone(grid), 0)
    assert found["conflict"]["correlation"] == [[1.0, None], [None, None]]
    assert found["conflict"]["notes"] == ["no response to a prompt differs from another under b"]
    assert found["front"]["hypervolume"] > 0, "it does not make the volume flat"
    assert all("b" not in block["sacrificed"] for block in found["scalarizers"].values())


def test_equal_choices_are_on_the_front_together_and_add_nothing_alone() -> None:
    grid, rewards = random_case(0)
    found = trade_offs(grid, {**rewards, "sum again": 2 * rewards["sum"] + 1}, 0)
    for name in ("sum", "sum again"):
        assert found["scalarizers"][name]["on_front"]
        assert found["scalarizers"][name]["hypervolume_share"] == 0
    assert trade_offs(grid, rewards, 0)["scalarizers"]["sum"]["hypervolume_share"] > 0
    assert found["front"]["hypervolume"] == trade_offs(grid, rewards, 0)["front"]["hypervolume"]


def test_one_response_leaves_no_choice() -> None:
    grid, rewards = random_case(0, n=1)
    found = trade_offs(grid, rewards, 0)
    assert np.array(found["differ"]["share"]).max() == 0
    assert np.array(found["regret"]["deviations"]).max() == 0
    assert found["conflict"]["correlation"] == [[None] * 3] * 3
    assert found["conflict"]["notes"] == ["one response a prompt: nothing varies within prompts"]
    assert found["front"]["hypervolume"] == 0
    for block in found["scalarizers"].values():
        assert block["on_front"]
        assert block["sacrificed"] == []
        assert {row["mean"] for row in block["gain"].values()} == {0.0}


def test_one_prompt_has_no_interval() -> None:
    grid, rewards = random_case(0, m=1)
    block = trade_offs(grid, rewards, 0)["scalarizers"]["sum"]
    assert block["scores"]["a"]["ci95"] is None
    assert block["gain"]["a"]["ci95"] is None
    assert block["sacrificed"] == []


def test_ties_go_to_the_first() -> None:
    assert picks(np.array([[1.0, 1.0], [0.0, 2.0], [3.0, 2.0]])).tolist() == [0, 1, 0]
    constant = {"same": np.zeros((30, 4))}
    found = trade_offs(random_case(0)[0], {**constant, **random_case(0)[1]}, 0)
    assert found["regret"]["deviations"][0] == [0.0] * len(found["regret"]["names"])


def test_rewards_that_mean_something_within_a_prompt_alone() -> None:
    grid, rewards = random_case(0)
    ranks = rewards["sum"].argsort(axis=1).argsort(axis=1) / 3.0
    found = trade_offs(grid, {"sum": rewards["sum"], "rank": ranks}, 0)
    assert found["differ"]["share"] == [[0, 0], [0, 0]]
    assert found["regret"]["deviations"] == [[0, 0], [0, 0]]


# Intervals


def test_intervals_are_those_of_a_loop_and_paired() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    values = np.column_stack([values, values[:, 0] - values[:, 1], values[:, 0]])
    found = intervals(values, seed=3)
    assert found is not None
    assert found[0].tolist() == pytest.approx(found[3].tolist(), abs=1e-12)
    rng = np.random.default_rng(3)
    means = np.array([values[rng.integers(40, size=40)].mean(axis=0) for _ in range(1000)])
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975], axis=0).T, atol=1e-12)
    assert (intervals(values, seed=3) == found).all()  # type: ignore[union-attr]
    assert intervals(values[:1], seed=3) is None


def test_intervals_cover_the_truth() -> None:
    rng, covered, trials = np.random.default_rng(0), 0, 300
    for seed in range(trials):
        ends = intervals(rng.exponential(size=(100, 1)), seed, draws=400)
        assert ends is not None
        covered += bool(ends[0, 0] <= 1.0 <= ends[0, 1])
    # A skewed mean of 100: the percentile interval covers about 93 %.
    assert 0.88 <= covered / trials <= 0.98


def test_the_number_of_draws_does_not_change_with_the_memory_used(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    whole = intervals(values, seed=0, draws=250)
    monkeypatch.setattr("morlaif_analysis.preview.bootstrap.AT_ONCE", 7)
    np.testing.assert_allclose(intervals(values, seed=0, draws=250), whole)  # type: ignore[arg-type]


# What is refused


def test_what_is_not_finite_is_named() -> None:
    grid, rewards = random_case(0)
    values = grid.values.copy()
    values[7, 2, 1] = np.nan
    with pytest.raises(ValueError, match="principle b for response 2 to prompt x00007 is nan"):
        replace(grid, values=values)
    for wrong in (np.nan, np.inf):
        u = rewards["sum"].copy()
        u[3, 1] = wrong
        with pytest.raises(ValueError, match=f"reward of sum for response 1 to prompt x00003 is {wrong}"):
            trade_offs(grid, {**rewards, "sum": u}, 0)
    with pytest.raises(ValueError, match="row 0 is NaN"):
        picks(np.array([[np.nan, 0.0]]))


def test_what_does_not_fit_is_refused() -> None:
    grid, rewards = random_case(0)
    with pytest.raises(ValueError, match=r"rewards of sum have shape \(29, 4\), not \(30, 4\)"):
        trade_offs(grid, {"sum": rewards["sum"][1:]}, 0)
    with pytest.raises(ValueError, match="no choice"):
        trade_offs(grid, {}, 0)
    with pytest.raises(ValueError, match="30 prompt ids and 2 principles"):
        replace(grid, principles=("a", "b"))
    with pytest.raises(ValueError, match="may be 0"):
        grid_of(np.zeros((3, 0, 2)))
    with pytest.raises(ValueError, match="principle a is there twice"):
        replace(grid, principles=("a", "b", "a"))
    with pytest.raises(ValueError, match="prompt id x00000 is there twice"):
        replace(grid, prompt_ids=("x00000", *grid.prompt_ids[:-1]))


@pytest.mark.parametrize("name", ["best_of_n", "fronts"])
def test_the_worked_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"morlaif_analysis.preview.{name}"))
    assert tried > 1
    assert failed == 0
