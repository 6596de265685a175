"""One training of a policy trainer that is checked, and what all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morlaif_core.plugins.components import Component, Generation, Target
from morlaif_core.plugins.protocols import Backbones, Policy, PolicyJob, PolicyTrainer, Reward
from morlaif_core.testing.components import require
from morlaif_core.types import ResponsePair, make_pair

from .models import questions
from .watched import Recorder, Stop, WatchedReward

GENERATION = Generation(max_new_tokens=8, temperature=1.0)


@dataclass
class Attempt:
    """One call of `train` in a folder, and what it was seen to do."""

    out: Path
    report: Recorder
    stop: Stop
    reward: WatchedReward
    policy: Policy | None = None


@dataclass
class Bench:
    """What all parts of a check share."""

    name: str
    component: Component[PolicyTrainer]
    options: Any
    target: Target
    reward: Reward
    backbones: Backbones
    folder: Path

    def pairs(self) -> list[ResponsePair]:
        return [make_pair(prompt, "Yes.", "No, not at all!") for prompt in questions("What is {} good for?")]

    def attempt(
        self, part: str, report: Recorder | None = None, *, signal_after: int | None = None, first_fails: bool = False
    ) -> Attempt:
        """Return an attempt in a folder; one in the same folder goes on with what is there."""
        report, out = report or Recorder(), self.folder / part
        out.mkdir(parents=True, exist_ok=True)
        return Attempt(out, report, Stop(report, signal_after), WatchedReward(self.reward, first_fails))

    def train(
        self, attempt: Attempt, *, seed: int = 0, target: Target | None = None, generation: Generation = GENERATION
    ) -> Policy:
        """Train with a trainer built anew, as another process would."""
        job = PolicyJob(
            target or self.target, questions(), self.pairs(), attempt.reward, generation, attempt.out, seed,
            attempt.report, self.backbones, stop=attempt.stop,
        )  # fmt: skip
        attempt.policy = policy = self.component.build(self.options).train(job)
        inside = policy.folder is not None and policy.folder.is_dir() and policy.folder.is_relative_to(attempt.out)
        self.require(inside, f"the policy's folder is {policy.folder}; return Policy(job.target, job.out)")
        self.require(policy.target == job.target, "the policy's target is not the job's; return Policy(job.target, …)")
        return policy

    def require(self, holds: bool, message: str) -> None:
        require(holds, f"{self.name}: {message}")
