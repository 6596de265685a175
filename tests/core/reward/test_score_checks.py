"""Scores that are no numbers, rewards that are none and principles that are missing are refused by the core, whatever
the scalarizer would make of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core import Component, Floats, Message, NoOptions, Prompt, Scalarizer, ScoreMatrix, Terms, make_prompt
from morlaif_core.config.settings import PrincipleSettings, RewardSettings
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.scale import RewardScale, fit_reward_scale, scalarize
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.testing import make_scores
from morlaif_scalarizers import morlaif_scalarizers

OFFERED = {offered.name: offered for offered in morlaif_scalarizers()}
NAMES = ("kind", "calm", "short", "unpaid")
PROMPTS = [make_prompt([Message("user", f"Question {number % 3}?")]) for number in range(7)]
CALIBRATION = Calibration("std", 3.0, NAMES, (0.0,) * 4, (1.0,) * 4)
NO_NUMBERS = (float("nan"), float("inf"), -float("inf"))
each = pytest.mark.parametrize("offered", OFFERED.values(), ids=lambda offered: offered.name)


class Given:
    """A preference model with given scores."""

    def __init__(self, scores: ScoreMatrix) -> None:
        self.scores = scores

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        return self.scores


def raw_scores(seed: int = 0) -> ScoreMatrix:
    """Scores (7, 4) with the spread and features that some scalarizers need."""
    rng = np.random.default_rng(seed)
    scores = make_scores(rng.uniform(-3, 3, (7, 4)), NAMES)
    ids = tuple(prompt.id for prompt in PROMPTS)
    return replace(
        scores, prompt_ids=ids, spread=np.full((7, 4), 0.3, np.float32), features=np.ones((7, 5), dtype=np.float32)
    )


def resolve(offered: Component[Scalarizer]) -> ResolvedTerms:
    """Two principles of one priority, one after them, and one of weight 0."""
    terms = {"kind": {"priority": 1}, "calm": {"priority": 1, "weight": 2.0}, "short": {}, "unpaid": {"weight": 0.0}}
    settings = {name: PrincipleSettings.model_validate(values) for name, values in terms.items()}
    return resolve_terms(settings, offered, RewardSettings(calibrate="std"), CALIBRATION, raw_scores())


def make_reward(offered: Component[Scalarizer], scores: ScoreMatrix) -> PrincipledReward:
    options = {"principle": "short"} if offered.name == "single" else {}
    scalarizer = offered.build(offered.options.model_validate(options))
    resolved = resolve(offered)
    return PrincipledReward(
        Given(scores), CALIBRATION, scalarizer, name=offered.name, resolved=resolved, scale=RewardScale()
    )


def call(offered: Component[Scalarizer], scores: ScoreMatrix) -> Floats:
    return make_reward(offered, scores)(PROMPTS, [""] * 7).rewards


@each
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6), st.integers(0, 3), st.sampled_from(NO_NUMBERS))
def test_a_score_that_is_no_number(offered: Component[Scalarizer], row: int, column: int, value: float) -> None:
    """Also of a principle that the reward does not count, and where a sort or a rank would hide it."""
    scores = raw_scores()
    assert np.isfinite(call(offered, scores)).all()
    scores.values[row, column] = value
    if not np.isnan(value):  # NaN is a score that failed, see below
        with pytest.raises(ScoreError, match=f"principle {NAMES[column]} in row {row} ") as caught:
            call(offered, scores)
        assert PROMPTS[row].id in str(caught.value)
    # What does not come by way of a calibration is looked at as well.
    with pytest.raises(ScoreError, match=f"principle {NAMES[column]} in row {row} "):
        scalarize(offered.name, lambda scores, terms: np.zeros(7), resolve(offered), scores)


@each
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=3), st.integers(0, 9))
def test_a_score_that_failed_does_not_vote(
    offered: Component[Scalarizer], failed: list[tuple[int, int]], seed: int
) -> None:
    """The rewards of the others are those of a batch without its row, and it has none; unpaid principles do not count."""
    scores = raw_scores(seed)
    for row, column in failed:
        scores.values[row, column] = np.nan
    rows = np.flatnonzero(~np.isnan(scores.values[:, :3]).any(axis=1))
    rewards = call(offered, scores)
    without = make_reward(offered, scores.take(rows))([PROMPTS[row] for row in rows], [""] * len(rows)).rewards
    np.testing.assert_array_equal(rewards[rows], without)
    assert np.isnan(np.delete(rewards, rows)).all()


@each
def test_a_principle_that_failed_in_every_row_is_an_error(offered: Component[Scalarizer]) -> None:
    for column, name in enumerate(NAMES):
        scores = raw_scores()
        scores.values[:, column] = np.nan
        with pytest.raises(ScoreError, match=f"principle {name} in row 0"):
            call(offered, scores)
    scores = raw_scores()
    scores.values[:3, 0], scores.values[3:, 1] = np.nan, np.nan
    with pytest.raises(ScoreError, match="no response has a score under every principle"):
        call(offered, scores)


def test_an_explanation_leaves_out_what_failed() -> None:
    scores = raw_scores()
    whole = make_reward(OFFERED["max_min"], scores)
    explained = whole.explain(whole(PROMPTS, [""] * 7))
    scores.values[2, 0] = np.nan
    holes = make_reward(OFFERED["max_min"], scores)
    found = holes.explain(holes(PROMPTS, [""] * 7))
    rest = [0, 1, 3, 4, 5, 6]
    np.testing.assert_array_equal(found.influence[rest], explained.influence[rest])
    assert np.isnan(found.influence[2]).all()
    assert [found.decided[row] for row in rest] == [explained.decided[row] for row in rest]
    assert found.decided[2] == ""


@each
@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 9))
def test_a_principle_that_is_missing(offered: Component[Scalarizer], missing: str, seed: int) -> None:
    kept = [place for place, name in enumerate(NAMES) if name != missing]
    whole = raw_scores(seed)
    assert whole.spread is not None
    scores = replace(
        whole,
        values=whole.values[:, kept],
        spread=whole.spread[:, kept],
        principles=tuple(NAMES[place] for place in kept),
    )
    with pytest.raises(ScoreError, match=missing):
        call(offered, scores)


@each
def test_a_principle_too_many_or_in_another_place_changes_nothing(offered: Component[Scalarizer]) -> None:
    scores = raw_scores()
    order = [2, 0, 3, 1]
    assert scores.spread is not None
    turned = replace(
        scores,
        values=np.concatenate([scores.values[:, order], np.full((7, 1), np.nan, np.float32)], axis=1),
        spread=np.concatenate([scores.spread[:, order], np.ones((7, 1), np.float32)], axis=1),
        principles=(*(NAMES[place] for place in order), "left-over"),
    )
    np.testing.assert_array_equal(call(offered, turned), call(offered, scores))


@settings(deadline=None)
@given(st.integers(0, 6), st.sampled_from(NO_NUMBERS))
def test_a_reward_that_is_no_number(row: int, value: float) -> None:
    """Of any scalarizer: the row, and what stands in it."""

    def broken(scores: ScoreMatrix, terms: Terms) -> Floats:
        rewards = np.zeros(len(scores.values), dtype=np.float32)
        rewards[row] = value
        return rewards

    offered = replace(OFFERED["weighted"], name="broken", options=NoOptions, build=lambda options: broken)
    scores = raw_scores()
    with pytest.raises(ScoreError, match=rf"scalarizer broken returned {value} in row {row}, .*kind") as caught:
        call(offered, scores)
    calm = CALIBRATION.apply(scores)[0].values[row, 1]
    assert re.search(rf"calm {re.escape(f'{calm:.4g}')}", str(caught.value))
    with pytest.raises(ScoreError, match=f"row {row}"):
        fit_reward_scale(offered, broken, resolve(offered), scores)


@pytest.mark.parametrize("need", ["spread", "features"])
@pytest.mark.parametrize(("name", "options"), [("gated", {}), ("uncertainty_weighted", {"ensemble": True})])
def test_a_need_that_is_no_number_is_seen_in_the_reward(name: str, options: dict[str, object], need: str) -> None:
    offered = OFFERED[name]
    reward = make_reward(offered, raw_scores())
    reward.scalarizer = offered.build(offered.options.model_validate(options))
    scores = raw_scores()
    getattr(scores, need)[4] = np.nan
    reward.model = Given(scores)
    if (name, need) == ("uncertainty_weighted", "spread"):
        with pytest.raises(ScoreError, match="returned nan in row 4"):
            reward(PROMPTS, [""] * 7)
    else:  # not used: without a gate, features do not matter
        assert np.isfinite(reward(PROMPTS, [""] * 7).rewards).all()
