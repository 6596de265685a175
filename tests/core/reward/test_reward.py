"""Terms, tiers and thresholds; the reward's scale; names, NaN and pickles of the reward."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from morlaif_core import (
    Component,
    NoOptions,
    Prompt,
    Reward,
    Scalarizer,
    ScoreMatrix,
    UserError,
    component,
)
from morlaif_core.config.settings import PrincipleSettings, RewardSettings
from morlaif_core.errors import RunFailed
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.saved_reward import RunReward, load_reward_file, save_reward
from morlaif_core.reward.scale import RewardScale, fit_reward_scale, scalarize
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.reward.soft_clip import undo_soft_clip
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.weights_and_thresholds import check_terms, resolve_terms
from morlaif_core.testing import FakePreferenceModel, make_scores
from tests.helpers.measured_rewards import (
    MEASURES,
    NAMES,
    OFFERED,
    PROMPTS,
    RESPONSES,
    Learning,
    calibration,
    reference,
)

BY_ROW = [name for name, component in OFFERED.items() if not component.needs and name != "single"]
"""Those that need nothing but scores, and have defaults."""
STD = RewardSettings.model_validate({"calibrate": "std"})
PLATT = RewardSettings(calibrate="platt")


def principles(**terms: dict[str, Any]) -> dict[str, PrincipleSettings]:
    return {name: PrincipleSettings.model_validate(settings) for name, settings in terms.items()}


def resolve(name: str, reward: RewardSettings = PLATT, **terms: dict[str, Any]) -> ResolvedTerms:
    settings = principles(**({principle: {} for principle in NAMES} | terms))
    return resolve_terms(settings, OFFERED[name], reward, calibration(), reference())


def build(offered: Component[Scalarizer]) -> Scalarizer:
    return offered.build(offered.options())


def make_reward(name: str = "weighted", **terms: dict[str, Any]) -> PrincipledReward:
    resolved, scalarizer = resolve(name, **terms), build(OFFERED[name])
    scale = fit_reward_scale(OFFERED[name], scalarizer, resolved, reference())
    return PrincipledReward(
        FakePreferenceModel(MEASURES), calibration(), scalarizer, name=name, resolved=resolved, scale=scale
    )


def test_weights_sum_to_one_and_columns_of_weight_zero_are_cut() -> None:
    resolved = resolve("weighted", short={"weight": 3.0}, calm={"weight": 0.0})
    assert resolved.view(reference()).principles == ("short", "polite")
    np.testing.assert_allclose(resolved.terms(step=7).weight, [0.75, 0.25])
    assert resolved.terms(step=7).step == 7
    np.testing.assert_array_equal(resolved.view(reference()).values, reference().values[:, [0, 2]])


def test_batches_keep_principles_of_weight_zero() -> None:
    batch = make_reward(calm={"weight": 0.0})(PROMPTS, RESPONSES)
    assert batch.scores.principles == NAMES
    assert batch.scores.values.shape == (4, 3)


def test_every_weight_zero_is_refused() -> None:
    with pytest.raises(UserError, match="every principle has weight 0"):
        check_terms(principles(short={"weight": 0}, calm={"weight": 0}), OFFERED["weighted"], PLATT)


def test_thresholds_as_numbers_and_quantiles() -> None:
    resolved = resolve("max_min", short={"threshold": 0.5}, calm={"threshold": {"quantile": 0.9}})
    expected = [0.5, np.quantile(reference().values[:, 1].astype(float), 0.9), 0.0]
    np.testing.assert_allclose(resolved.terms().threshold, expected, rtol=1e-6)


@pytest.mark.parametrize("win_rate", [0.01, 0.3, 0.5, 0.6, 0.99])
def test_a_threshold_by_win_rate_wins_that_often(win_rate: float) -> None:
    tau = float(resolve("max_min", short={"threshold": {"win_rate": win_rate}}).terms().threshold[0])
    z = undo_soft_clip(np.array([tau, *reference().values[:, 0]], dtype=np.float32), calibration().clip)
    assert np.mean(expit(z[0] - z[1:])) == pytest.approx(win_rate, abs=1e-4)


def test_thresholds_that_cannot_be_are_refused() -> None:
    for threshold in (3.0, -4.0):  # not a number: refused when the configuration is read
        with pytest.raises(UserError, match=r"principles\.calm\.threshold"):
            check_terms(principles(calm={"threshold": threshold}), OFFERED["max_min"], PLATT)
    with pytest.raises(UserError, match="platt"):
        check_terms(principles(calm={"threshold": {"win_rate": 0.6}}), OFFERED["max_min"], STD)


def test_priorities_are_places_unless_said() -> None:
    assert resolve("lexicographic").terms().priority.tolist() == [1, 2, 3]
    resolved = resolve("lexicographic", short={"priority": 9})
    assert resolved.terms().priority.tolist() == [9, 2, 3]


def test_equal_priorities_form_a_tier_of_means_by_weight() -> None:
    terms = {
        "short": {"priority": 1, "weight": 3.0, "threshold": 1.0},
        "calm": {"priority": 1},
        "polite": {"priority": 2},
    }
    resolved = resolve("lexicographic", **terms)
    view, seen = resolved.view(reference()), resolved.terms()
    assert view.principles == ("short+calm", "polite")
    values = reference().values
    np.testing.assert_allclose(view.values[:, 0], 0.75 * values[:, 0] + 0.25 * values[:, 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen.threshold, [0.75, 0.0])
    np.testing.assert_allclose(seen.weight, [0.8, 0.2])
    np.testing.assert_allclose(seen.lower, [-3, -3])
    assert seen.priority.tolist() == [1, 2]
    without = resolve("weighted", **terms)
    assert without.view(reference()).principles == NAMES


def test_a_tier_does_not_depend_on_the_order_in_the_file() -> None:
    terms = {"short": {"priority": 2, "weight": 3.0}, "calm": {"priority": 1}, "polite": {"priority": 2}}
    scalarizer = build(OFFERED["lexicographic"])
    rewards = []
    for names in (NAMES, NAMES[::-1]):
        settings = principles(**{name: terms[name] for name in names})
        resolved = resolve_terms(settings, OFFERED["lexicographic"], PLATT, calibration(), reference())
        rewards.append(scalarize("lexicographic", scalarizer, resolved, reference()))
    np.testing.assert_allclose(*rewards, rtol=1e-5, atol=1e-5)


def test_terms_that_change_nothing_are_said_once_each() -> None:
    terms = {"short": {"weight": 2.0, "threshold": 0.5, "priority": 2}, "calm": {}, "polite": {"threshold": 0.1}}
    notes = {name: check_terms(principles(**terms), OFFERED[name], PLATT) for name in OFFERED}
    assert [note.split(":")[0].split()[-1] for note in notes["weighted"]] == ["threshold", "priority"]
    assert notes["max_min"] == (
        "scalarizer max_min does not use weight: the weight of short changes nothing",
        "scalarizer max_min does not use priority: the priority of short changes nothing",
    )
    # short shares priority 2 with calm, where its weight counts
    assert [note.split(",")[0] for note in notes["lexicographic"]] == ["principles.calm has no priority"]
    assert check_terms(principles(short={}, calm={}), OFFERED["max_min"], PLATT) == ()
    assert check_terms(principles(short={"weight": 2}, calm={"weight": 2}), OFFERED["max_min"], PLATT) == ()
    alone = check_terms(principles(short={"weight": 2.0}, calm={}), OFFERED["lexicographic"], PLATT)
    assert len(alone) == 1
    assert "weight of short" in alone[0]


@pytest.mark.parametrize("name", BY_ROW)
def test_the_reward_has_one_scale(name: str) -> None:
    resolved, scalarizer = resolve(name), build(OFFERED[name])
    scale = fit_reward_scale(OFFERED[name], scalarizer, resolved, reference())
    rewards = scale.apply(scalarize(name, scalarizer, resolved, reference()))
    assert rewards.mean() == pytest.approx(0, abs=1e-5)
    assert rewards.std() == pytest.approx(1, abs=1e-5)
    unscaled = fit_reward_scale(OFFERED[name], scalarizer, resolved, reference(), standardize=False)
    assert unscaled == RewardScale(0.0, 1.0)


@pytest.mark.parametrize("group", [2, 4, 8])
@pytest.mark.parametrize("name", ["leximin", "lexicographic_rank", "normalize_then_sum"])
def test_a_group_wise_reward_has_the_same_scale_in_training(name: str, group: int) -> None:
    """On a step's groups, whose responses are to one prompt: mean 0 and deviation 1, whatever the groups' size."""
    resolved, scalarizer = resolve(name), build(OFFERED[name])
    scale = fit_reward_scale(OFFERED[name], scalarizer, resolved, reference(), group=group)
    rng = np.random.default_rng(1)
    prompts = np.repeat(rng.normal(0, 1, (400, 3)), group, axis=0)
    step = make_scores(prompts + rng.normal(0, 0.7, prompts.shape), NAMES, group=group)
    rewards = scale.apply(scalarize(name, scalarizer, resolved, step))
    assert rewards.mean() == pytest.approx(0, abs=0.02)
    assert rewards.std() == pytest.approx(1, abs=0.03)


def test_group_wise_scalarizers_are_exempt_and_constants_are_said() -> None:
    grouped = replace(OFFERED["weighted"], needs=frozenset({"groups"}))
    scalarizer, resolved = build(grouped), resolve("weighted")
    assert fit_reward_scale(grouped, scalarizer, resolved, reference()) == RewardScale(0.0, 1.0)  # groups of what size?
    constant = make_scores(np.ones((5, 3)), NAMES)
    scale = fit_reward_scale(OFFERED["weighted"], scalarizer, resolved, constant)
    assert (scale.mean, scale.deviation) == (1.0, 1.0)
    assert "same reward" in scale.notes[0]


def test_the_whole_reward_is_its_parts() -> None:
    reward = make_reward("max_min", short={"threshold": 0.5})
    batch = reward(PROMPTS, RESPONSES)
    raw = np.array([[measure(None, text) for measure in MEASURES.values()] for text in RESPONSES])
    z = (raw - [-1.0, -0.5, 0.5]) / [1.0, 2.0, 0.5]
    np.testing.assert_allclose(batch.scores.values, 3 * np.tanh(z / 3), rtol=1e-5, atol=1e-6)
    u = (3 * np.tanh(z / 3) - [0.5, 0, 0]).min(axis=1)
    np.testing.assert_allclose(batch.rewards, (u - reward.scale.mean) / reward.scale.deviation, rtol=1e-4, atol=1e-5)
    assert batch.clipped == pytest.approx(np.mean(np.abs(z) > 3))
    assert batch.rewards.dtype == np.float32


@pytest.mark.parametrize("name", BY_ROW)
def test_batches_of_none_and_one(name: str) -> None:
    reward = make_reward(name)
    assert reward([], []).rewards.shape == (0,)
    assert reward([], []).scores.values.shape == (0, 3)
    whole = reward(PROMPTS, RESPONSES).rewards
    alone = [reward([prompt], [response]).rewards[0] for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    assert whole.tolist() == [float(value) for value in alone]


def test_a_score_that_is_no_number_names_principle_and_row() -> None:
    reward = make_reward()
    broken = {**MEASURES, "calm": lambda prompt, response: float("inf") if response == "please" else 0.0}
    reward.model = FakePreferenceModel(broken)
    with pytest.raises(ScoreError, match="principle calm in row 3"):
        reward(PROMPTS, RESPONSES)
    assert issubclass(ScoreError, RunFailed)


def test_a_missing_principle_is_an_error() -> None:
    reward = make_reward()
    reward.model = FakePreferenceModel({name: MEASURES[name] for name in ("short", "polite")})
    with pytest.raises(ScoreError, match="calm"):
        reward(PROMPTS, RESPONSES)


class Rows:
    """A preference model that drops the last row."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        return FakePreferenceModel(MEASURES).score(prompts[:-1], responses[:-1])


def test_lost_rows_are_an_error() -> None:
    reward = make_reward()
    reward.model = Rows()
    with pytest.raises(ScoreError, match="not the 4 prompts"):
        reward(PROMPTS, RESPONSES)
    with pytest.raises(ValueError, match="one response for each"):
        reward(PROMPTS, RESPONSES[:2])


@pytest.mark.parametrize(
    ("returned", "word"),
    [
        (np.zeros(3), "shape"),
        (np.float32(0), "shape"),
        (np.array([0, np.nan, 0, 0]), "row 1.*short"),
        (np.zeros((4, 1)), "shape"),
    ],
)
def test_what_a_scalarizer_returns_is_checked(returned: Any, word: str) -> None:
    with pytest.raises(ScoreError, match=word):
        scalarize("odd", lambda scores, terms: returned, resolve("weighted"), make_scores(np.zeros((4, 3)), NAMES))


def test_files_keep_every_bit(tmp_path: Path) -> None:
    settings = {"short": {"priority": 2, "threshold": {"quantile": 0.3}, "weight": 0.1}, "calm": {"weight": 0.7}}
    resolved, scale = resolve("lexicographic", **settings), RewardScale(0.1 + 0.2, 1 / 3, ("a note",))
    save_reward(tmp_path / "reward.json", "lexicographic", resolved, scale)
    name, again, scale_again = load_reward_file(tmp_path / "reward.json")
    assert (name, again.tiers) == ("lexicographic", resolved.tiers)
    assert (scale_again.mean, scale_again.deviation) == (scale.mean, scale.deviation)


def test_effective_weights_are_weight_times_deviation() -> None:
    resolved = resolve("weighted", short={"weight": 3.0}, calm={"weight": 0.0})
    shares = resolved.effective_weights({"short": 0.5, "calm": 9.0, "polite": 1.5})
    assert shares == pytest.approx({"short": 0.5, "polite": 0.5})
    tiers = resolve("lexicographic", short={"priority": 1}, calm={"priority": 1})
    assert tiers.effective_weights({"short": 1.0, "calm": 1.0, "polite": 2.0}) == pytest.approx(
        {"short": 0.25, "calm": 0.25, "polite": 0.5}
    )


def learning() -> PrincipledReward:
    offered = component("learning", lambda options: Learning(), NoOptions, "shifts")
    resolved = resolve_terms(principles(calm={}, short={}), offered, PLATT, calibration(), reference())
    model = FakePreferenceModel(MEASURES)
    return PrincipledReward(model, calibration(), Learning(), name="learning", resolved=resolved, scale=RewardScale())


def test_state_goes_through_json() -> None:
    first, second = learning(), learning()
    first.end_step(make_scores([[5.0, 0.25, 7.0]], NAMES))
    second.restore(json.loads(json.dumps(first.state())))
    assert first.state() == second.state()
    assert first.state()["scalarizer"] == {"shift": 0.25}
    assert second(PROMPTS, RESPONSES).rewards.tolist() == first(PROMPTS, RESPONSES).rewards.tolist()
    plain = make_reward()
    plain.end_step(make_scores([[1.0, 1.0, 1.0]], NAMES))
    plain.restore(plain.state())
    assert "scalarizer" not in plain.state()
    with pytest.raises(ValueError, match="weighted"):
        plain.restore(first.state())


def test_a_state_saved_under_another_calibration_is_refused() -> None:
    reward, state = make_reward(), dict(make_reward().state())
    reward.restore(state)
    changed = json.loads(json.dumps(state))
    changed["fitted"][0]["location"][0] += 0.5
    with pytest.raises(RunFailed, match="fitted again"):
        reward.restore(changed)


loaded: list[Path] = []


def load_learning(folder: Path) -> Reward:
    """What a run's loader does, without a run."""
    loaded.append(folder)
    return learning()


def test_a_run_reward_pickles_as_folder_and_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "run_reward_loader", sys.modules[__name__])
    loaded.clear()
    reward = RunReward(tmp_path, loader="run_reward_loader.load_learning")
    copy = pickle.loads(pickle.dumps(reward))
    assert loaded == []
    reward.end_step(make_scores([[5.0, 0.25, 7.0]], NAMES))
    stored = pickle.dumps(reward)
    assert len(stored) < 2000
    copy = pickle.loads(stored)
    assert loaded == [tmp_path]
    assert copy.state()["scalarizer"] == {"shift": 0.25}
    assert pickle.loads(pickle.dumps(copy)).state() == copy.state()
    assert loaded == [tmp_path]  # a copy's state is known without its models
    assert copy(PROMPTS, RESPONSES).rewards.tolist() == reward(PROMPTS, RESPONSES).rewards.tolist()
    assert len(loaded) == 2
    copy.restore({"scalarizer": {"shift": 1.0}})
    assert copy.state()["scalarizer"] == {"shift": 1.0}
