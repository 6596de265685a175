"""The utility of the expectation against per-response rewards, and numbers that move over the steps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from morlaif_core import Floats, ScoreMatrix, Terms, UserError, build
from morlaif_core.config.settings import PrincipleSettings, RewardSettings, Schedule
from morlaif_core.plugins.manager import Plugins
from morlaif_core.reward.expected_utility import MOMENTUM, Expected
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.weights_and_thresholds import check_terms, resolve_terms
from morlaif_core.testing import make_scores, make_terms
from tests.helpers.measured_rewards import calibration, reference

SCORES = make_scores([[1.0, -1.0], [-1.0, 2.0]])


def means(*values: float) -> dict[str, float]:
    return {f"p{place}": value for place, value in enumerate(values)}


def expected(name: str, start: tuple[float, ...], **options: object) -> Expected:
    return Expected(build("scalarizer", name, **options), means(*start))


def test_under_max_min_the_worst_mean_gets_all_the_weight() -> None:
    terms = make_terms(k=2)
    assert expected("max_min", (0.5, -0.5))(SCORES, terms).round(5).tolist() == [-1.0, 2.0]
    assert build("scalarizer", "max_min")(SCORES, terms).tolist() == [-1.0, -1.0]  # each response by its own worst


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.lists(st.floats(0.1, 3), min_size=3, max_size=3))
def test_weights_are_the_gradient_scaled_to_one(start: list[float], weight: list[float]) -> None:
    terms = make_terms(weight=weight)
    rows = make_scores(np.random.default_rng(0).uniform(-2, 2, (4, 3)).astype(np.float32))
    parts = terms.weight.astype(np.float64) * np.exp(-np.array(start))
    soft = expected("soft_max_min", tuple(start)).weights(rows, terms)
    np.testing.assert_allclose(soft, parts / parts.sum(), atol=2e-3)
    assert expected("weighted", tuple(start)).weights(rows, terms) == pytest.approx(terms.weight, abs=1e-4)


def test_climbing_it_lifts_the_worst_mean_where_per_response_rewards_do_not() -> None:
    """Two kinds of responses, each perfect in one principle: only a mixture is good on average in both."""
    kinds, terms = make_scores([[2.0, -1.0], [-1.0, 2.0]]), make_terms(k=2)
    share, of_means = 0.9, expected("max_min", (1.7, -0.7))
    for _ in range(400):
        step = share * kinds.values[0] + (1 - share) * kinds.values[1]
        of_means.end_step(make_scores(step[None]), terms)
        rewards = of_means(kinds, terms)
        share = float(np.clip(share + 0.01 * np.sign(rewards[0] - rewards[1]), 0, 1))
    assert abs(share - 0.5) < 0.1
    alone = build("scalarizer", "max_min")(kinds, terms)
    assert alone[0] == alone[1]  # per response nothing tells the kinds apart


def test_a_gradient_of_its_own_is_taken_and_a_flat_one_is_not() -> None:
    class Known:
        def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
            raise AssertionError("its gradient is known")

        def gradient(self, mean: ScoreMatrix, terms: Terms) -> Floats:
            return np.array([3.0, 1.0], dtype=np.float32)

    terms = make_terms(weight=[1, 3])
    assert Expected(Known(), means(0.0, 0.0)).weights(SCORES, terms).tolist() == [0.75, 0.25]

    def flat(scores: ScoreMatrix, terms: Terms) -> Floats:
        return np.zeros(len(scores.values), dtype=np.float32)

    assert Expected(flat, means(0.0, 0.0)).weights(SCORES, terms).tolist() == [0.25, 0.75]
    assert Expected(flat, means(0.0, 0.0), uses_weight=False).weights(SCORES, terms).tolist() == [0.5, 0.5]

    def endless(scores: ScoreMatrix, terms: Terms) -> Floats:
        return np.where(scores.values[:, 0] > 0, np.float32(np.inf), np.float32(0))

    assert Expected(endless, means(0.0, 0.0)).weights(SCORES, terms).tolist() == [0.25, 0.75]


def test_a_small_gradient_is_not_flat() -> None:
    saturated = expected("power_mean", (-1.0, -1.5), temperature=0.1)
    found = saturated.weights(SCORES, make_terms(threshold=[1.5, 1.5]))
    # Far below the thresholds the chances are exp((r - b) / T): of their harmonic mean, slopes go as 1 / chance.
    np.testing.assert_allclose(found, [1 / (1 + np.exp(5)), 1 / (1 + np.exp(-5))], rtol=0.05)


def test_means_run_and_come_back_from_a_checkpoint() -> None:
    terms = make_terms(priority=[1, 2])
    ours = expected("lagrangian", (0.0, 0.0))
    ours.end_step(make_scores([[1.0, -2.0]]), terms)
    state = json.loads(json.dumps(ours.state()))
    assert state["means"] == pytest.approx(means(1 - MOMENTUM, -2 * (1 - MOMENTUM)))
    old = state | {"means": list(state["means"].values())}  # as it was before the means had names
    mixed = state | {"means": dict(reversed(state["means"].items()))}
    for saved in (state, old, mixed):
        again = expected("lagrangian", (0.0, 0.0))
        again.restore(saved)
        np.testing.assert_array_equal(again(SCORES, terms), ours(SCORES, terms))
        assert again.state() == ours.state()


@pytest.mark.parametrize(
    ("shape", "values"), [("linear", [1, 1, 2, 3, 3]), ("cosine", [1, 1, 2, 3, 3]), ("piecewise", [1, 1, 1, 3, 3])]
)
def test_schedules(shape: str, values: list[float]) -> None:
    schedule = Schedule.model_validate({"shape": shape, "points": [[10, 1.0], [20, 3.0]]})
    assert [schedule.at(step) for step in (0, 10, 15, 20, 99)] == pytest.approx(values)
    assert Schedule.model_validate({"points": [[0, 2.5]]}).at(7) == 2.5
    half = Schedule.model_validate({"shape": "cosine", "points": [[0, 0.0], [4, 1.0]]}).at(1)
    assert half == pytest.approx((1 - np.cos(np.pi / 4)) / 2)
    with pytest.raises(ValueError, match="steps must grow"):
        Schedule.model_validate({"points": [[3, 1.0], [3, 2.0]]})


def resolve(name: str, schedules: dict[str, object], **terms: dict[str, object]) -> ResolvedTerms:
    principles = {
        key: PrincipleSettings.model_validate(value)
        for key, value in ({"short": {}, "calm": {}, "polite": {}} | terms).items()
    }
    reward = RewardSettings.model_validate({"schedules": schedules})
    component = Plugins.load().find("scalarizer", name)
    return resolve_terms(principles, component, reward, calibration(), reference())


def test_a_weight_and_a_threshold_move_in_the_users_units() -> None:
    moving = {"short.weight": {"points": [[0, 2.0], [10, 6.0]]}, "calm.threshold": {"points": [[0, 0.0], [10, 1.0]]}}
    resolved = resolve("bernoulli_nash", moving, short={"weight": 2.0})
    assert resolved.terms(0).weight.tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert resolved.terms(10).weight.tolist() == pytest.approx([0.75, 0.125, 0.125])
    assert resolved.terms(5).threshold.tolist() == pytest.approx([0.0, 0.5, 0.0])
    assert resolved.scheduled(5) == {"short.weight": 4.0, "calm.threshold": 0.5}
    again = ResolvedTerms.from_json(json.loads(json.dumps(resolved.to_json())))
    assert again.terms(7).weight.tolist() == resolved.terms(7).weight.tolist()


def test_a_tier_mixes_by_the_weights_of_the_step() -> None:
    moving = {"short.weight": {"points": [[0, 1.0], [10, 3.0]]}, "calm.threshold": {"points": [[0, 0.5], [10, 1.0]]}}
    tier = {"short": {"priority": 1, "threshold": 0.2}, "calm": {"priority": 1, "threshold": 0.5}}
    resolved = resolve("lexicographic", moving, **tier, polite={"priority": 2})
    rows = make_scores([[2.0, -2.0, 1.0]], ("short", "calm", "polite"))
    assert resolved.view(rows, 0).values.tolist() == [[0.0, 1.0]]
    assert resolved.view(rows, 10).values.tolist() == [[1.0, 1.0]]
    assert resolved.terms(10).threshold.tolist() == pytest.approx([0.75 * 0.2 + 0.25 * 1.0, 0.0])


@pytest.mark.parametrize(
    ("schedules", "complaint"),
    [
        ({"loud.weight": {"points": [[0, 1.0]]}}, "PRINCIPLE.weight"),
        ({"short.priority": {"points": [[0, 1.0]]}}, "PRINCIPLE.weight"),
        ({"short.weight": {"points": [[0, 1.0], [5, 0.0]]}}, "above 0"),
        ({"short.threshold": {"points": [[0, 9.0]]}}, "clip range"),
        ({"temperature": {"points": [[0, 1.0]]}}, "has no temperature"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(schedules: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        resolve("max_min", schedules)


def test_expected_utility_wants_a_gradient() -> None:
    reward = RewardSettings.model_validate({"utility": "expected"})
    with pytest.raises(UserError, match="leximin ranks"):
        check_terms({"short": PrincipleSettings()}, Plugins.load().find("scalarizer", "leximin"), reward)
