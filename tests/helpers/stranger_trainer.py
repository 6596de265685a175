"""A policy trainer as a stranger would write it from the docs, best-of-n distillation, and what he may get wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from morlaif_core import (
    Component,
    Options,
    Policy,
    PolicyJob,
    PolicyTrainer,
    Prompt,
    Target,
    UserError,
    component,
    decode,
    encode_pair,
    prompt_ids,
    stop_strings,
)

QUICK: dict[str, object] = {"steps": 16, "n": 4, "prompts_per_step": 8, "learning_rate": 1e-2}


class StrangerOptions(Options):
    """Of the trainer below."""

    steps: int = Field(8, ge=1, description="steps")
    prompts_per_step: int = Field(8, ge=1, description="prompts of a step")
    n: int = Field(4, ge=2, description="answers to each prompt, of which the best is learnt")
    learning_rate: float = Field(1e-4, gt=0, description="AdamW's")


class Stranger:
    """The one that does all of it."""

    refuses_lora: ClassVar[bool] = True
    own: ClassVar[bool] = True
    tokenizer: ClassVar[bool] = True
    obeys: ClassVar[bool] = True
    looks_for_done: ClassVar[bool] = True

    def __init__(self, options: StrangerOptions) -> None:
        self.options = options

    def train(self, job: PolicyJob) -> Policy:
        if job.target.lora is not None and self.refuses_lora:
            raise UserError("it trains all weights; leave out target.lora")
        done, file = job.out / "done.json", job.out / "state.pt"
        if self.looks_for_done and done.exists():
            return Policy(job.target, job.out)
        backbone = job.backbones.get(job.target, own=self.own)
        model, tokenizer = backbone.model, backbone.tokenizer
        model.requires_grad_(True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.options.learning_rate)
        begun = self.restore(job, model, optimizer, torch.load(file, weights_only=True)) if file.exists() else 0
        for step in range(begun + 1, self.options.steps + 1):
            metrics = self.step(job, model, tokenizer, optimizer, step)
            reward = dict(job.reward.state())
            torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                        "reward": json.dumps(reward)}, file)  # fmt: skip
            if self.report(job, step, metrics) == "stop" and self.obeys:
                break
        model.save_pretrained(job.out)
        if self.tokenizer:
            tokenizer.save_pretrained(job.out)
        file.unlink(missing_ok=True)
        done.write_text(json.dumps({"steps": self.options.steps}))
        return Policy(job.target, job.out)

    def restore(self, job: PolicyJob, model: Any, optimizer: Any, saved: dict[str, Any]) -> int:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        job.reward.restore(json.loads(saved["reward"]))
        return int(saved["step"])

    def step(self, job: PolicyJob, model: Any, tokenizer: Any, optimizer: Any, step: int) -> dict[str, float]:
        prompts, n = self.prompts(job, step), self.options.n
        answers = self.answers(job, model, tokenizer, prompts, step)
        flat = [prompt for prompt in prompts for _ in range(n)]
        rewards = self.rewards(job, flat, [text for row in answers for text in row], step).reshape(-1, n)
        best = [(p, row[self.pick(r)]) for p, row, r in zip(prompts, answers, rewards, strict=True)]
        loss = self.learn(job, model, tokenizer, optimizer, best)
        return {"reward": self.mean(rewards), "loss": loss}

    def seed(self, job: PolicyJob) -> int:
        return job.seed

    def prompts(self, job: PolicyJob, step: int) -> list[Prompt]:
        return random.Random(f"{self.seed(job)}/{step}").sample(list(job.prompts), self.options.prompts_per_step)

    def answers(
        self, job: PolicyJob, model: Any, tokenizer: Any, prompts: Sequence[Prompt], step: int
    ) -> list[list[str]]:
        template, g = job.target.template, job.generation
        drawn = decode(
            model, tokenizer, [prompt_ids(tokenizer, prompt, template) for prompt in prompts], n=self.options.n,
            max_new_tokens=g.max_new_tokens, temperature=g.temperature, stop=stop_strings(g, tokenizer, template),
            seed=self.seed(job) * 1000 + step,
        )  # fmt: skip
        return [[one.text for one in row] for row in drawn]

    def rewards(self, job: PolicyJob, prompts: list[Prompt], texts: list[str], step: int) -> Any:
        return job.reward(prompts, texts, step=step).rewards

    def pick(self, rewards: Any) -> int:
        return int(np.nanargmax(rewards))

    def mean(self, rewards: Any) -> float:
        return float(np.nanmean(rewards))

    def report(self, job: PolicyJob, step: int, metrics: dict[str, float]) -> str:
        return job.report(step, self.options.steps, metrics)

    def learn(
        self, job: PolicyJob, model: Any, tokenizer: Any, optimizer: Any, best: list[tuple[Prompt, str]]
    ) -> float:
        optimizer.zero_grad()
        total = 0.0
        with torch.enable_grad():
            for prompt, text in best:
                pair = encode_pair(tokenizer, prompt, text, 128, job.target.template)
                ids = torch.tensor([pair.ids])
                labels = ids.clone()
                labels[:, : pair.start] = -100
                loss = model(input_ids=ids, labels=labels).loss / len(best)
                loss.backward()
                total += loss.item()
        optimizer.step()
        return total


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


def offered(kind: type[Stranger] = Stranger) -> Component[PolicyTrainer]:
    """Return the component of one of them."""
    return component("stranger", kind, StrangerOptions, "best-of-n distillation")
