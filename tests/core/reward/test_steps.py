"""A step ends once, whoever ends it: the trainer, its report, or the next step's scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import NoOptions, Prompt, component
from morlaif_core.config.settings import PrincipleSettings, RewardSettings
from morlaif_core.errors import RunFailed
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.reward.scale import RewardScale
from morlaif_core.reward.steps import SteppedReward
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.testing import FakePreferenceModel, make_scores
from tests.helpers.measured_rewards import MEASURES, NAMES, PROMPTS, RESPONSES, Learning, calibration, reference


def stepped(broken: str = "") -> SteppedReward:
    """A reward that learns. broken: the response that has no score."""

    def calm(prompt: Prompt, response: str) -> float:
        return float("nan") if response == broken else MEASURES["calm"](prompt, response)

    offered = component("learning", lambda options: Learning(), NoOptions, "shifts")
    terms = {name: PrincipleSettings() for name in NAMES}
    resolved = resolve_terms(terms, offered, RewardSettings(calibrate="platt"), calibration(), reference())
    model = FakePreferenceModel({**MEASURES, "calm": calm})
    return SteppedReward(
        PrincipledReward(model, calibration(), Learning(), name="learning", resolved=resolved, scale=RewardScale())
    )


def shift(reward: SteppedReward) -> float:
    return float(str(reward.reward.scalarizer.state()["shift"]))  # type: ignore[attr-defined]


def mean(reward: SteppedReward, rows: slice = slice(None)) -> float:
    column = reward.reward.resolved.view(reward(PROMPTS, RESPONSES, step=0).scores, 0)
    return float(np.nanmean(column.values[rows, 0]))


def test_a_report_ends_the_step_with_the_means_of_all_that_was_scored() -> None:
    reward, expected = stepped(), mean(stepped())
    reward(PROMPTS[:1], RESPONSES[:1], step=0)
    reward(PROMPTS[1:], RESPONSES[1:], step=0)
    assert shift(reward) == 0
    reward.reported(1, "mine")
    assert shift(reward) == pytest.approx(expected, abs=1e-6)
    reward.reported(2, "mine")  # nothing new was scored
    assert shift(reward) == pytest.approx(expected, abs=1e-6)


def test_the_next_step_ends_the_one_before() -> None:
    reward, expected = stepped(), mean(stepped())
    first = reward(PROMPTS, RESPONSES, step=0).rewards
    second = reward(PROMPTS, RESPONSES, step=1).rewards
    np.testing.assert_allclose(second - first, expected, atol=1e-6)


def test_a_response_without_a_reward_is_no_part_of_the_mean() -> None:
    reward, expected = stepped(RESPONSES[0]), mean(stepped(), slice(1, None))
    reward(PROMPTS, RESPONSES, step=0)
    reward.reported(1, "mine")
    assert shift(reward) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("first", ["end_step", "report"])
def test_a_trainer_that_ends_its_steps_is_left_to_it(first: str) -> None:
    reward, means = stepped(), make_scores([[0.25] * len(NAMES)], NAMES)
    expected, own = mean(stepped()), shift_of(means)
    for step in range(3):
        reward(PROMPTS, RESPONSES, step=step)
        if first == "end_step":
            reward.end_step(means)
            reward.reported(step + 1, "mine")
        else:
            reward.reported(step + 1, "mine")
            reward.end_step(means)
    # The core ended the very first step, before it knew that the trainer would.
    assert shift(reward) == pytest.approx(3 * own if first == "end_step" else expected + 2 * own, abs=1e-6)


def shift_of(means: object) -> float:
    reward = stepped()
    reward(PROMPTS, RESPONSES, step=0)
    reward.end_step(means)  # type: ignore[arg-type]
    return shift(reward)


def test_a_checkpoint_keeps_the_step_that_has_not_ended(tmp_path: Path) -> None:
    reward, other = stepped(), stepped()
    reward(PROMPTS, RESPONSES, step=0)
    saved = json.loads(json.dumps(RunReward(tmp_path, reward).state()))
    reward.reported(1, "mine")
    other.restore(saved)
    after = [each(PROMPTS[:2], RESPONSES[:2], step=1).rewards.tolist() for each in (reward, other)]
    assert after[0] == after[1]
    assert shift(reward) == shift(other)
    assert "open" not in stepped().state()
    stepped().reward.restore(saved)  # one that is not in training takes it, and leaves the step open


def test_without_a_step_it_is_the_one_reported_last() -> None:
    reward = stepped()
    reward(PROMPTS, RESPONSES)
    reward.reported(7, "mine")
    assert reward.explain(reward(PROMPTS, RESPONSES)).decided
    assert reward.state()["step"] == 7


def test_a_reward_that_is_never_stepped_stops_the_training() -> None:
    reward = stepped()
    reward.reported(1, "mine")
    with pytest.raises(RunFailed, match=r"scalarizer 'learning' .* trainer 'mine' .*job\.reward\.end_step"):
        reward.reported(2, "mine")
    for restored in (False, True):
        fine = stepped()
        if restored:
            moved = stepped()
            moved(PROMPTS, RESPONSES, step=0)
            moved.reported(1, "mine")
            fine.restore(moved.state())
        else:
            fine.end_step(make_scores([[0.25] * len(NAMES)], NAMES))
        fine.reported(2, "mine")
        fine.reported(3, "mine")
