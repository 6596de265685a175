"""A reward whose terms move: one scale at every step, and the step that it is at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import NoOptions, build, component
from morlaif_core.config.settings import PrincipleSettings, RewardSettings, Schedule
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.saved_reward import RunReward, load_reward_file, save_reward
from morlaif_core.reward.scale import RewardScale, fit_reward_scale, scalarize
from morlaif_core.reward.scheduled_temperature import schedule_temperature
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.testing import FakePreferenceModel
from tests.helpers.measured_rewards import MEASURES, NAMES, OFFERED, PROMPTS, RESPONSES, calibration, reference

TEMPERATURE: dict[str, Any] = {"temperature": {"points": [[0, 2.0], [5, 0.1]]}}
TERMS: dict[str, Any] = {
    "short.weight": {"points": [[0, 1.0], [4, 8.0]]},
    "calm.threshold": {"points": [[2, -1.0], [7, 2.0]]},
}


def moving(name: str, schedules: dict[str, Any]) -> PrincipledReward:
    settings = {principle: PrincipleSettings() for principle in NAMES}
    reward = RewardSettings.model_validate({"schedules": schedules})
    resolved = resolve_terms(settings, OFFERED[name], reward, calibration(), reference())
    scalarizer = build("scalarizer", name)
    if "temperature" in schedules:
        schedule = Schedule.model_validate(schedules["temperature"])
        scalarizer = schedule_temperature(lambda t: build("scalarizer", name, temperature=t), schedule)
    scale = fit_reward_scale(OFFERED[name], scalarizer, resolved, reference())
    model = FakePreferenceModel(MEASURES)
    return PrincipledReward(model, calibration(), scalarizer, name=name, resolved=resolved, scale=scale)


@pytest.mark.parametrize(
    ("name", "schedules", "last"),
    [
        ("bernoulli_nash", TEMPERATURE, 5),
        ("power_mean", TEMPERATURE, 5),
        ("lexicographic", TERMS, 7),
        ("soft_max_min", TEMPERATURE | TERMS, 7),
    ],
)
def test_the_scale_is_one_at_every_step(name: str, schedules: dict[str, Any], last: int) -> None:
    reward = moving(name, schedules)
    assert len(reward.scale.steps) == last + 1
    spread = []
    for step in [*range(last + 1), 99]:
        u = scalarize(name, reward.scalarizer, reward.resolved, reference(), step)
        rewards = reward.scale.apply(u, step).astype(np.float64)
        assert rewards.mean() == pytest.approx(0, abs=1e-4)
        assert rewards.std() == pytest.approx(1, abs=1e-4)
        spread.append(float(u.std()))
    assert max(spread) > 1.2 * min(spread), "else one scale would do"
    batch = reward(PROMPTS, RESPONSES, step=3)
    u = scalarize(name, reward.scalarizer, reward.resolved, batch.scores, 3)
    np.testing.assert_array_equal(batch.rewards, reward.scale.apply(u, 3))
    at_3, unscaled = reward.explain(batch, step=3).influence, replace(reward.scale, steps=())
    reward.scale = RewardScale(*unscaled.at(0))
    ratio = reward.scale.deviation / moving(name, schedules).scale.at(3)[1]
    np.testing.assert_allclose(at_3, reward.explain(batch, step=3).influence * ratio, rtol=1e-4)


def test_every_scale_is_kept_and_part_of_the_state(tmp_path: Path) -> None:
    reward, file = moving("bernoulli_nash", TEMPERATURE), tmp_path / "reward.json"
    save_reward(file, "bernoulli_nash", reward.resolved, reward.scale)
    assert load_reward_file(file)[2] == replace(reward.scale, notes=())
    state = json.loads(json.dumps(reward.state()))
    reward.restore(state)
    reward.scale = replace(reward.scale, steps=((0.0, 1.0),) * 6)
    with pytest.raises(Exception, match="fitted again"):
        reward.restore(state)
    old = json.loads(file.read_text())
    del old["scale"]["steps"]  # as written before a scale had steps
    file.write_text(json.dumps(old))
    scale = load_reward_file(file)[2]
    assert scale.at(3) == scale.at(0) == (scale.mean, scale.deviation)


def test_without_schedules_there_is_one_scale() -> None:
    assert moving("weighted", {}).scale.steps == ()


def test_a_restored_reward_is_at_the_step_it_was_saved_at() -> None:
    first, again = moving("soft_max_min", TEMPERATURE | TERMS), moving("soft_max_min", TEMPERATURE | TERMS)
    for ours in (again, RunReward("nowhere", again)):
        again.restore({name: value for name, value in first.state().items() if name != "step"})  # an old state
        np.testing.assert_array_equal(ours(PROMPTS, RESPONSES).rewards, first(PROMPTS, RESPONSES, step=0).rewards)
        last = first(PROMPTS, RESPONSES, step=4)
        ours.restore(json.loads(json.dumps(first.state())))
        assert ours.state()["step"] == 4
        np.testing.assert_array_equal(ours(PROMPTS, RESPONSES).rewards, last.rewards)
        np.testing.assert_array_equal(ours.explain(last).influence, first.explain(last, step=4).influence)
        assert (last.rewards != first(PROMPTS, RESPONSES, step=0).rewards).any()


def test_a_temperature_that_moves_is_logged() -> None:
    reward = moving("soft_max_min", TEMPERATURE | TERMS)
    reward(PROMPTS, RESPONSES, step=5)
    assert reward.metrics()["term/temperature"] == pytest.approx(0.1)
    assert reward.metrics()["term/short.weight"] == 8.0
    again = ResolvedTerms.from_json(json.loads(json.dumps(reward.resolved.to_json())))
    assert again.scheduled(0)["temperature"] == 2.0


def test_what_needs_groups_with_its_options_has_no_scale() -> None:
    offered = component(
        "odd", lambda options: build("scalarizer", "weighted"), NoOptions, "odd", needs_for=lambda o: {"groups"}
    )
    reward = moving("weighted", {})
    assert fit_reward_scale(offered, reward.scalarizer, reward.resolved, reference(), options=NoOptions()) == (
        RewardScale()
    )
