"""Which principle decided a reward: against derivatives known by hand, and for a scalarizer nobody here wrote."""

from __future__ import annotations

import numpy as np
import pytest

from morlaif_core import Floats, ScoreMatrix, Terms, build
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.expected_utility import Expected
from morlaif_core.reward.explanation import explain, gradient
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.reward.scale import RewardScale
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms, Tier
from morlaif_core.testing import FakePreferenceModel, make_scores, make_terms
from morlaif_core.types import Message, make_prompt

VALUES = np.random.default_rng(0).uniform(-2, 2, (50, 3)).astype(np.float32)


def test_the_worst_principle_decides_max_min() -> None:
    lowest = np.sort(VALUES, axis=1)
    clear = VALUES[lowest[:, 1] - lowest[:, 0] > 0.05]  # else the step reaches the next principle
    explained = explain(build("scalarizer", "max_min"), make_scores(clear), make_terms(k=3))
    worst = clear.argmin(axis=1)
    assert explained.decided == tuple(f"p{place}" for place in worst)
    np.testing.assert_allclose(explained.influence, np.eye(3)[worst], atol=1e-3)


def test_derivatives_are_those_of_the_formula() -> None:
    terms = make_terms(weight=[3, 2, 1])
    np.testing.assert_allclose(
        gradient(build("scalarizer", "weighted"), make_scores(VALUES), terms),
        np.broadcast_to(terms.weight, VALUES.shape),
        atol=1e-4,
    )
    # d(-log sum w exp(-r)) / dr_k = w_k exp(-r_k) / sum
    parts = terms.weight * np.exp(-VALUES.astype(np.float64))
    soft = gradient(build("scalarizer", "soft_max_min"), make_scores(VALUES), terms)
    np.testing.assert_allclose(soft, parts / parts.sum(axis=1, keepdims=True), atol=1e-4)


def test_a_strangers_scalarizer_is_explained_too() -> None:
    def strange(scores: ScoreMatrix, terms: Terms) -> Floats:
        return (scores.values[:, 0] * 0.1 - 2 * scores.values[:, 2]).astype(np.float32)

    explained = explain(strange, make_scores(VALUES), make_terms(k=3))
    assert set(explained.decided) == {"p2"}  # in size, whatever the sign
    np.testing.assert_allclose(explained.influence[0], [0.1, 0.0, -2.0], atol=1e-3)


def test_small_slopes_decide_by_their_ratio_and_level_ones_by_order() -> None:
    saturated, terms = build("scalarizer", "power_mean", temperature=0.2), make_terms(threshold=[1.5, 1.5])
    explained = explain(saturated, make_scores([[-1.0, -1.5]]), terms)
    assert explained.influence.max() < 1e-5
    assert explained.decided == ("p1",)
    level = make_scores(np.random.default_rng(1).uniform(-3, 3, (500, 12)))
    assert set(explain(build("scalarizer", "weighted"), level, make_terms(k=12)).decided) == {"p0"}


def test_what_float32_cannot_tell_apart_is_no_slope() -> None:
    def rounded(scores: ScoreMatrix, terms: Terms) -> Floats:
        return np.where(scores.values[:, 1] > 0, np.nextafter(np.float32(5), np.float32(9)), np.float32(5))

    assert gradient(rounded, make_scores([[0.0, 0.0]]), make_terms(k=2)).tolist() == [[0.0, 0.0]]


def test_no_rows() -> None:
    assert explain(build("scalarizer", "max_min"), make_scores(VALUES[:0]), make_terms(k=3)).decided == ()


def reward(row_wise: bool) -> PrincipledReward:
    tiers = tuple(Tier({name: 1.0}, 0.5, 0.0, place, -3.0, 3.0) for place, name in enumerate(("brief", "loud")))
    return PrincipledReward(
        FakePreferenceModel({"brief": lambda p, r: -len(r) / 10, "loud": lambda p, r: float(r.count("!"))}),
        Calibration("none", 3.0, ("brief", "loud"), (0.0, 0.0), (1.0, 1.0)),
        build("scalarizer", "max_min"),
        name="max_min",
        resolved=ResolvedTerms(tiers),
        scale=RewardScale(0.0, 2.0),
        row_wise=row_wise,
    )


def test_a_reward_says_who_decided_in_its_own_unit() -> None:
    prompt = make_prompt([Message("user", "Hi")])
    for ours in (reward(True), RunReward("nowhere", reward(True))):
        batch = ours([prompt, prompt], ["a long and quiet answer", "!!!"])
        explained = ours.explain(batch)
        assert explained.principles == ("brief", "loud")
        assert explained.decided == ("brief", "brief")
        np.testing.assert_allclose(explained.influence, [[0.5, 0.0], [0.5, 0.0]], atol=1e-3)
        np.testing.assert_array_equal(explained.scores, batch.scores.values)


def test_of_mean_scores_the_influence_is_exact_and_belongs_to_the_columns() -> None:
    """A tier is one column; the reward is its weighted sum but for a constant, to float32's last bits."""
    tier, alone = (
        Tier({"loud": 0.25, "brief": 0.75}, 0.7, 0.0, 1, -3.0, 3.0),
        Tier({"calm": 1.0}, 0.3, 0.0, 2, -3.0, 3.0),
    )
    names = ("brief", "loud", "calm")
    ours = PrincipledReward(
        FakePreferenceModel({name: lambda p, r, i=i: float(np.sin(len(r) * (i + 1))) for i, name in enumerate(names)}),
        Calibration("none", 3.0, names, (0.0,) * 3, (1.0,) * 3),
        Expected(build("scalarizer", "soft_max_min"), {"loud+brief": 0.1, "calm": 0.4}),
        name="soft_max_min",
        resolved=ResolvedTerms((tier, alone)),
        scale=RewardScale(0.2, 0.01),
    )
    batch = ours([make_prompt([Message("user", "Hi")])] * 9, ["!" * n for n in range(9)])
    explained = ours.explain(batch)
    assert explained.principles == ("loud+brief", "calm")
    mixed = batch.scores.values @ np.array([0.75, 0.25, 0.0])
    np.testing.assert_allclose(explained.scores, np.stack([mixed, batch.scores.values[:, 2]], axis=1), atol=1e-6)
    assert (explained.influence == explained.influence[0]).all()
    left = batch.rewards - (explained.influence.astype(np.float64) * explained.scores).sum(axis=1)
    np.testing.assert_allclose(left, -0.2 / 0.01, atol=1e-4)
    nothing = ours.explain(ours((), ()))
    assert nothing.influence.shape == nothing.scores.shape == (0, 2)


@pytest.mark.filterwarnings("error")
def test_of_an_empty_batch_the_columns_are_named_without_the_scalarizer() -> None:
    def unasked(scores: ScoreMatrix, terms: Terms) -> Floats:
        raise AssertionError("there is nothing to scalarize")

    for scalarizer in (unasked, Expected(build("scalarizer", "gated"), {"brief": 0.0, "loud": 0.0})):
        ours = reward(True)
        ours.scalarizer = scalarizer
        nothing = ours.explain(ours((), ()))
        assert (nothing.principles, nothing.decided) == (("brief", "loud"), ())
        assert nothing.influence.shape == nothing.scores.shape == (0, 2)


def test_ranks_in_a_group_have_no_principle_that_decides() -> None:
    prompt = make_prompt([Message("user", "Hi")])
    ours = reward(False)
    with pytest.raises(ScoreError, match="of a group"):
        ours.explain(ours([prompt], ["!"]))
