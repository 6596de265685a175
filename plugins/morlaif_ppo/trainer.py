"""PPO for language models (Schulman et al., arXiv 1707.06347; Ziegler et al., arXiv 1909.08593), read top to bottom.

A step: the policy answers a batch of prompts; the reward scores the answers as text; the reference says how likely each
token was to it; advantages; a few epochs of minibatches.

Leaves out: reward normalisation, because the reward comes with one scale; an entropy bonus, because the KL to the
reference does its work; a value network of its own, because a head on the policy's states does at these sizes; an early
end of a step's epochs by KL, because ``stop_at_kl`` ends training; a controller that steers the KL to a target (Ziegler et
al.): the coefficient moves only where a report's answer is ``raise_kl``; several processes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from morlaif_core import Policy, PolicyJob, Prompt, RewardBatch, ScoreMatrix, UserError

from . import checkpoint
from .advantages import masked_mean, sequence_kl
from .failed import without_failed
from .heads import take_apart
from .options import PPOOptions
from .rollout import Rollout, prompts_of_step, sample, seed_of
from .state import Training
from .update import targets, update


class PPO:
    """The policy trainer `ppo`."""

    def __init__(self, options: PPOOptions) -> None:
        self.options = options

    def train(self, job: PolicyJob) -> Policy:
        """Train the target on the reward; goes on from ``job.out``, and returns at once where it is done there: with as many
        steps, or stopped.

        ``job.out`` ends with the final policy (a model for transformers, or an adapter for peft), the last checkpoints,
        and done.json: ``{"steps", "stopped"}``. Steps after the last checkpoint are run, and reported, again after a
        kill. Raises `UserError` for no prompts, models that cannot be followed, a LoRA with dropout, a checkpoint made
        with other options, and training that diverges; KeyboardInterrupt, a checkpoint written, on ``job.stop()``.
        """
        if job.target.lora is not None and job.target.lora.dropout:
            raise UserError("ppo trains without dropout, or its first ratio would not be 1; set target.lora.dropout: 0")
        job.out.mkdir(parents=True, exist_ok=True)
        if checkpoint.is_done(job, self.options):
            checkpoint.restore_reward(job)  # a kill may have come before its state was kept elsewhere
            return Policy(job.target, folder=job.out)
        training = checkpoint.resume(job, self.options)
        while training.step < self.options.steps and not training.stopped:
            if job.stop():
                if not checkpoint.folder_of(training, job).exists():
                    checkpoint.save(training, job, self.options)
                raise KeyboardInterrupt
            self._step(training, job)
            last = training.stopped or training.step == self.options.steps
            if last or training.step % self.options.checkpoint_every == 0:
                checkpoint.save(training, job, self.options)
        return checkpoint.finish(training, job, {"steps": training.step, "stopped": training.stopped})

    def _step(self, training: Training, job: PolicyJob) -> None:
        """Sample, score, update and report; obey the report's answer."""
        options, network, step = self.options, training.network, training.step
        clock = Clock()
        # Prompts and seeds depend on the step's number alone, so that a resumed run draws what it would have.
        prompts = prompts_of_step(job.prompts, step, options.prompts_per_step, job.seed)
        rollout = sample(
            network,
            job.target,
            prompts,
            job.generation,
            n=options.responses_per_prompt,
            seed=seed_of("rollout", job.seed, step),
            batch=options.rollout_batch,
            # In bfloat16 a pass for the log-probabilities is needed anyway, and gives the values too.
            states=training.head is not None and not training.recompute_logprobs,
        )
        metrics = {"seconds/generate": clock.lap()}
        scored = job.reward(rollout.prompts, rollout.texts, step=step)
        rollout, scored, groups, metrics["failed"] = without_failed(rollout, scored, options)
        batch = network.with_trunk(rollout.batch, options.batch)
        reference = network.reference_logprobs(batch, options.batch)
        metrics["seconds/score"] = clock.lap()
        metrics |= describe(rollout, scored, reference)
        if not metrics["failed"]:  # else these are no longer the responses that were scored
            job.keep({"kl": sequence_kl(rollout.logprobs, reference, batch.mask).tolist()})
        rewards, weights = self._rewards(training, job, scored, rollout)
        # Before a stop by KL, so that the reward's state counts this step whether training goes on or not.
        job.reward.end_step(mean_scores(scored.scores))
        if options.stop_at_kl is not None and metrics["kl"] > options.stop_at_kl:
            # The policy that sampled is the one kept: it is the first beyond the limit, and goes no further.
            training.stopped = "kl"
        else:
            given = targets(training, batch, rollout.logprobs, reference, rewards, options, weights, groups=groups)
            # Read before the update, which moves the schedule on.
            metrics["learning_rate"] = training.optimizer.param_groups[0]["lr"]
            metrics |= update(training, given, options, seed_of("update", job.seed, step))
            metrics["seconds/update"] = clock.lap()
        training.step += 1
        self._report(training, job, metrics)

    def _rewards(
        self, training: Training, job: PolicyJob, scored: RewardBatch, rollout: Rollout
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the rewards (n,) less penalties, and None; or their parts (n, c) and weights (c,), a value head each."""
        device = rollout.logprobs.device
        rewards = torch.as_tensor(np.asarray(scored.rewards, dtype=np.float32), device=device)
        rewards = rewards - self._eos_penalty(job) * ~rollout.ended
        if not training.columns:
            return rewards, None
        # As the reward was when it scored: its state moves at the end of the step.
        return take_apart(scored, job.reward.explain(scored, step=training.step), rewards)

    def _eos_penalty(self, job: PolicyJob) -> float:
        # A target whose responses the limit cuts off anyway would learn to be short before all else.
        return self.options.missing_eos_penalty * job.reference_ended

    def _report(self, training: Training, job: PolicyJob, metrics: Mapping[str, float]) -> None:
        """Tell the core; ``raise_kl`` doubles the penalty's coefficient, ``stop`` ends training with what it is now."""

        def generate(prompts: Sequence[Prompt]) -> Sequence[str]:
            seed = seed_of("look", job.seed, training.step)
            return sample(training.network, job.target, prompts, job.generation, n=1, seed=seed).texts

        metrics = {**metrics, "kl_coefficient": training.kl, "missing_eos_penalty": self._eos_penalty(job)}
        answer = job.report(training.step, self.options.steps, metrics, generate=generate)
        if answer == "raise_kl":
            training.kl *= 2
        elif answer == "stop":
            training.stopped = training.stopped or "guard"


class Clock:
    """Wall-clock seconds between laps."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self.last = self.last, time.perf_counter()
        return self.last - before


def describe(rollout: Rollout, scored: RewardBatch, reference: torch.Tensor) -> dict[str, float]:
    """Return what a step's episodes show: means over responses, but for entropy (nats a token).

    ``kl`` is in nats a response. ``entropy`` is -log p of the sampled tokens, an unbiased estimate of the policy's
    entropy at the sampling temperature.
    """
    mask = rollout.batch.mask
    scores = zip(scored.scores.principles, mean_scores(scored.scores).values[0], strict=True)
    return {
        "reward": float(np.mean(scored.rewards)),
        "kl": float(sequence_kl(rollout.logprobs, reference, mask).mean()),
        "entropy": -float(masked_mean(rollout.logprobs, mask)),
        "ended": float(rollout.ended.float().mean()),
        "length": float(rollout.batch.lengths.float().mean()),
        "reward_clipped": float(scored.clipped),
        **{f"score/{name}": float(mean) for name, mean in scores if not np.isnan(mean)},
    }


def mean_scores(scores: ScoreMatrix) -> ScoreMatrix:
    """Return the step's mean score of each principle, (1, k), over those that did not fail; NaN where all did."""
    values = np.asarray(scores.values)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        means = np.where(known, values, 0).sum(axis=0, keepdims=True) / known.sum(axis=0).astype(values.dtype)
    return ScoreMatrix(means, scores.principles, ("mean",))
