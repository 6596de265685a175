"""What a stranger may get wrong in a policy trainer, each by itself, with words of the message that finds it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from morlaif_core import Policy, PolicyJob, Prompt, Target
from tests.helpers.stranger_trainer import Stranger


class Idle(Stranger):
    def learn(self, *given: Any) -> float:
        return 0.0


class Timid(Stranger):
    """Learns next to nothing."""

    def learn(self, job: PolicyJob, model: Any, tokenizer: Any, optimizer: Any, best: Any) -> float:
        optimizer.param_groups[0]["lr"] = 1e-6
        return super().learn(job, model, tokenizer, optimizer, best)


class Worst(Stranger):
    def pick(self, rewards: Any) -> int:
        return int(np.nanargmin(rewards))


class WritesNaN(Stranger):
    def answers(self, job: PolicyJob, model: Any, tokenizer: Any, *given: Any) -> list[list[str]]:
        drawn = super().answers(job, model, tokenizer, *given)
        if given[-1] == self.options.steps:
            self.learn = self.spoil  # type: ignore[method-assign]
        return drawn

    def spoil(self, job: PolicyJob, model: Any, *given: Any) -> float:
        with torch.no_grad():
            next(model.parameters())[0, 0] = float("nan")
        return 0.0


class MovesReference(Stranger):
    own = False


class NoTokenizer(Stranger):
    tokenizer = False


class BeginsAnew(Stranger):
    def restore(self, job: PolicyJob, *given: Any) -> int:
        return 0


class ForgetsWeights(Stranger):
    def restore(self, job: PolicyJob, model: Any, optimizer: Any, saved: dict[str, Any]) -> int:
        job.reward.restore(json.loads(saved["reward"]))
        return int(saved["step"])


class ForgetsOptimizer(Stranger):
    def restore(self, job: PolicyJob, model: Any, optimizer: Any, saved: dict[str, Any]) -> int:
        fresh = optimizer.state_dict()
        step = super().restore(job, model, optimizer, saved)
        optimizer.load_state_dict(fresh)
        return step


class ForgetsReward(Stranger):
    def restore(self, job: PolicyJob, model: Any, optimizer: Any, saved: dict[str, Any]) -> int:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        return int(saved["step"])


class TrainsAgain(Stranger):
    looks_for_done = False


class OneSeed(Stranger):
    def seed(self, job: PolicyJob) -> int:
        return 0


class DrawsByChance(Stranger):
    def seed(self, job: PolicyJob) -> int:
        return random.SystemRandom().randrange(10**6)


class OtherPrompts(Stranger):
    def prompts(self, job: PolicyJob, step: int) -> list[Prompt]:
        return [pair.prompt for pair in job.pairs[: self.options.prompts_per_step]]


class SamePrompts(Stranger):
    def prompts(self, job: PolicyJob, step: int) -> list[Prompt]:
        return list(job.prompts[: self.options.prompts_per_step])


class NoStep(Stranger):
    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return job.reward(prompts, texts).rewards


class OneStep(Stranger):
    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return job.reward(prompts, texts, step=1).rewards


class NoReward(Stranger):
    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return np.array([float(len(text)) for text in texts])


class MixesPrompts(Stranger):
    """Scores each answer as if it were another prompt's."""

    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return super().rewards(job, prompts[self.options.n :] + prompts[: self.options.n], texts, step)


class OwnGeneration(Stranger):
    def answers(self, job: PolicyJob, *given: Any) -> list[list[str]]:
        generation = job.generation.model_copy(update={"temperature": 1.0})
        return super().answers(replace(job, generation=generation), *given)


class OwnLength(Stranger):
    def answers(self, job: PolicyJob, *given: Any) -> list[list[str]]:
        generation = job.generation.model_copy(update={"max_new_tokens": 6})
        return super().answers(replace(job, generation=generation), *given)


class Disobeys(Stranger):
    obeys = False


class NoReports(Stranger):
    def report(self, job: PolicyJob, step: int, metrics: dict[str, float]) -> str:
        return "go"


class CountsDown(Stranger):
    def report(self, job: PolicyJob, step: int, metrics: dict[str, float]) -> str:
        return job.report(self.options.steps - step + 1, self.options.steps, metrics)


class FailedIsANumber(Stranger):
    def mean(self, rewards: Any) -> float:
        return float(np.mean(rewards))


class IgnoresLora(Stranger):
    refuses_lora = False


class Swallows(Stranger):
    def report(self, job: PolicyJob, step: int, metrics: dict[str, float]) -> str:
        try:
            return job.report(step, self.options.steps, metrics)
        except BaseException:
            return "go"


class UntrainedFolder(Stranger):
    def train(self, job: PolicyJob) -> Policy:
        super().train(job)
        return Policy(job.target)


class SavesTheTarget(Stranger):
    """Trains, and writes the model as it was."""

    def train(self, job: PolicyJob) -> Policy:
        if (job.out / "done.json").exists():
            return Policy(job.target, job.out)
        policy = super().train(job)
        job.backbones.get(Target(model=job.target.model), own=True).model.save_pretrained(job.out)
        return policy


class StopsWithoutCheckpoint(Stranger):
    """Asks ``job.stop()``, and keeps nothing."""

    def step(self, job: PolicyJob, *given: Any) -> dict[str, float]:
        if job.stop():
            (job.out / "state.pt").unlink()
            raise KeyboardInterrupt
        return super().step(job, *given)


class GoesOn(Stranger):
    """Asks ``job.stop()``, and does not mind."""

    def step(self, job: PolicyJob, *given: Any) -> dict[str, float]:
        job.stop()
        return super().step(job, *given)


MUTANTS: dict[type[Stranger], str] = {
    Idle: "did not train",
    Timid: "did not learn",
    Worst: "learns the opposite",
    WritesNaN: "not finite",
    MovesReference: "reference",
    NoTokenizer: "tokenizer",
    BeginsAnew: "begins with step 1",
    ForgetsWeights: "other weights",
    ForgetsOptimizer: "other weights",
    ForgetsReward: "reward's state",
    TrainsAgain: "where it is done",
    OneSeed: "another seed changes nothing",
    DrawsByChance: "draw by",
    OtherPrompts: "not to prompts",
    SamePrompts: "the same 8 of 16 prompts",
    NoStep: "without step",
    OneStep: "each call of job.reward has step=1",
    NoReward: "never calls job.reward",
    MixesPrompts: "its own prompt",
    OwnGeneration: "draw by job.generation",
    OwnLength: "draw by job.generation",
    Disobeys: "told to stop",
    NoReports: "steps reported",
    CountsDown: "not ascending",
    FailedIsANumber: "not finite",
    IgnoresLora: "ignores target.lora",
    Swallows: "swallows",
    UntrainedFolder: "the policy's folder is None",
    SavesTheTarget: "did not train",
    StopsWithoutCheckpoint: "begins with step 1",
    GoesOn: "it went on",
}
"""Each with words of the message that finds it."""
