"""Scores that failed: the other responses learn exactly what they would learn without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from morlaif_core import PolicyJob, Prompt, RewardBatch, ScoreMatrix, UserError
from morlaif_core.config.settings import PrincipleSettings, RewardSettings
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.reward import PrincipledReward
from morlaif_core.reward.scale import RewardScale
from morlaif_core.reward.terms.weights_and_thresholds import resolve_terms
from morlaif_core.testing import make_scores
from morlaif_ppo.batch import pad, pad_floats
from morlaif_ppo.failed import without_failed
from morlaif_ppo.options import PPOOptions
from morlaif_ppo.rollout import Rollout, sample
from morlaif_ppo.state import Training, build
from morlaif_ppo.trainer import PPO, describe, mean_scores
from morlaif_ppo.update import targets
from morlaif_scalarizers import morlaif_scalarizers

OFFERED = {offered.name: offered for offered in morlaif_scalarizers()}
NAMES = ("letters", "size")


class Failing:
    """A preference model of two measures of the text that fails under one of them for some texts."""

    def __init__(self, failed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.failed = failed

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        rows = [[math.nan if text in self.failed else text.count("e") / 4, len(text) / 20] for text in responses]
        return replace(make_scores(rows, NAMES), prompt_ids=tuple(prompt.id for prompt in prompts))


def reward(scalarizer: str, model: Any) -> PrincipledReward:
    calibration = Calibration("std", 3.0, NAMES, (0.2, 1.0), (0.5, 0.5))
    offered = OFFERED[scalarizer]
    settings = {name: PrincipleSettings() for name in NAMES}
    terms = resolve_terms(settings, offered, RewardSettings(), calibration, make_scores([[0.0, 0.0]], NAMES))
    return PrincipledReward(
        model, calibration, offered.build(offered.options()), name=scalarizer, resolved=terms, scale=RewardScale()
    )


def only(rollout: Rollout, rows: list[int]) -> Rollout:
    """These episodes laid out anew, from their tokens."""
    batch, mask = rollout.batch, rollout.batch.mask
    before = batch.attention[:, : batch.prompt_width].bool()
    prompts = [batch.ids[row, : batch.prompt_width][before[row]].tolist() for row in rows]
    laid = pad(prompts, [batch.responses[row][mask[row]].tolist() for row in rows], 1, "cpu")
    return Rollout(
        tuple(rollout.prompts[row] for row in rows),
        tuple(rollout.texts[row] for row in rows),
        rollout.ended[rows],
        laid,
        pad_floats([rollout.logprobs[row][mask[row]].tolist() for row in rows], "cpu"),
    )


def advantages(
    training: Training, options: PPOOptions, rollout: Rollout, scored: Any, groups: torch.Tensor
) -> list[list[float]]:
    """What each response's tokens are told, without padding."""
    batch = training.network.with_trunk(rollout.batch, options.batch)
    reference = training.network.reference_logprobs(batch, options.batch)
    rewards = torch.as_tensor(scored.rewards)
    found = targets(training, batch, rollout.logprobs, reference + 0.3, rewards, options, groups=groups)
    return [row[kept].tolist() for row, kept in zip(found.advantages, batch.mask, strict=True)]


@pytest.mark.parametrize("baseline", ["value", "leave_one_out"])
@pytest.mark.parametrize("scalarizer", ["weighted", "max_min", "lagrangian", "leximin", "normalize_then_sum"])
def test_what_failed_does_not_vote(job: Callable[..., PolicyJob], scalarizer: str, baseline: str) -> None:
    """10 % of the scores fail at random: advantages, means and the scalarizer's state are those of a run without them."""
    options = PPOOptions(prompts_per_step=10, responses_per_prompt=4, baseline=baseline)
    the_job = job()
    training = build(the_job, options, None)
    if training.head is not None:  # one that says something
        torch.nn.init.normal_(training.head.out.weight)
    rollout = sample(training.network, the_job.target, the_job.prompts[:10], the_job.generation, n=4, seed=1)
    assert len(set(rollout.texts)) == 40
    failed = set(np.random.default_rng(0).choice(rollout.texts, 4, replace=False).tolist())
    rest = [row for row, text in enumerate(rollout.texts) if text not in failed]

    holes, whole = reward(scalarizer, Failing(failed)), reward(scalarizer, Failing())
    left, scored, groups, share = without_failed(rollout, holes(rollout.prompts, rollout.texts), options)
    clean = only(rollout, rest)
    wanted = whole(clean.prompts, clean.texts)
    assert share == pytest.approx(0.1)
    assert left.texts == clean.texts
    np.testing.assert_array_equal(scored.rewards, wanted.rewards)
    found = advantages(training, options, left, scored, groups)
    expected = advantages(training, options, clean, wanted, torch.tensor([row // 4 for row in rest]))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    reference = torch.zeros_like(left.logprobs)
    assert describe(left, scored, reference) == pytest.approx(describe(clean, wanted, torch.zeros_like(clean.logprobs)))
    for one, scores in ((holes, scored.scores), (whole, wanted.scores)):
        one.end_step(mean_scores(scores))
    assert holes.metrics() == whole.metrics()


def test_the_share_is_logged_and_training_goes_on(job: Callable[..., PolicyJob]) -> None:
    class Some:
        """Fails wherever the text's length is a multiple of five."""

        def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
            return Failing({text for text in responses if len(text) % 5 == 0}).score(prompts, responses)

    the_job = replace(job(), reward=reward("leximin", Some()))
    PPO(PPOOptions(steps=2, prompts_per_step=8, responses_per_prompt=4)).train(the_job)
    rows = the_job.report.rows  # type: ignore[attr-defined]
    assert all(0 < row["failed"] < 0.5 and math.isfinite(row["reward"]) for row in rows.values())
    assert "failed" in rows[1]


def first_failing(job: PolicyJob, options: PPOOptions, failed: int) -> tuple[Rollout, RewardBatch]:
    """A step's responses and rewards, of which the first ``failed`` have none."""
    network, prompts = build(job, options, None).network, job.prompts[: options.prompts_per_step]
    rollout = sample(network, job.target, prompts, job.generation, n=options.responses_per_prompt, seed=1)
    return rollout, reward("weighted", Failing(set(rollout.texts[:failed])))(rollout.prompts, rollout.texts)


def test_a_response_whose_peers_failed_has_no_baseline(job: Callable[..., PolicyJob]) -> None:
    options = PPOOptions(prompts_per_step=2, responses_per_prompt=3)
    rollout, scored = first_failing(job(), options, 2)
    left, _, groups, share = without_failed(rollout, scored, options)
    assert left.texts == rollout.texts[3:]
    assert groups.tolist() == [1, 1, 1]
    assert share == pytest.approx(1 / 3)
    alone = without_failed(rollout, scored, PPOOptions(responses_per_prompt=3, baseline="value"))[0]
    assert alone.texts == rollout.texts[2:]


def test_more_than_half_failed_ends_training(job: Callable[..., PolicyJob]) -> None:
    options = PPOOptions(prompts_per_step=5, responses_per_prompt=4)
    rollout, scored = first_failing(job(), options, 11)
    with pytest.raises(UserError, match="11 of 20 responses"):
        without_failed(rollout, scored, options)
