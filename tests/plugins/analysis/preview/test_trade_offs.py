"""The maths of a preview against brute force in plain floats, its symmetries, and planted cases."""

from __future__ import annotations

import doctest
import importlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from morlaif_analysis.preview.best_of_n import Grid, picks
from morlaif_analysis.preview.bootstrap import intervals
from morlaif_analysis.preview.trade_offs import conflict, trade_offs
from morlaif_core import Doubles
from tests.helpers.score_grids import SLOW, alone, as_sets, assert_close, cases, grid_of, random_case, reordered


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
