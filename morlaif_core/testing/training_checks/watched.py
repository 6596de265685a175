"""What a checked trainer is given: a report, a stop and a reward that keep what happened; a reward to be learnt."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from morlaif_core.plugins.protocols import Reward
from morlaif_core.testing.components import require
from morlaif_core.testing.fakes import memory_reward
from morlaif_core.types import Explanation, Prompt, RewardBatch, ScoreMatrix

PLANTS, MOST = 40, 0.6
"""Sets of characters that are tried, and the share of an untrained model's text that the chosen one may have."""


class Killed(BaseException):
    """What a `Recorder` raises in place of a kill: nothing that a trainer should catch."""


@dataclass
class Recorder:
    """A `Report` that keeps what it is told, and may answer other than ``go`` or raise `Killed` where `kill` says so."""

    stop_after: int | None = None
    raise_kl_at: int | None = None
    kill: Callable[[int], bool] | None = None
    steps: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        """Keep a step's metrics."""
        self.steps.append((step, total, dict(metrics)))
        if self.kill is not None and self.kill(step):
            raise Killed
        if self.stop_after is not None and step >= self.stop_after:
            return "stop"
        return "raise_kl" if step == self.raise_kl_at else "go"

    def check_order(self, name: str) -> None:
        """Steps come in order, with one total and finite metrics. Raises `ContractError`."""
        steps, totals = [step for step, _, _ in self.steps], sorted({total for _, total, _ in self.steps})
        ascending = bool(steps) and steps == sorted(set(steps))
        require(ascending, f"{name}: steps reported are {steps}, not ascending; call job.report(step, total, metrics)")
        require(len(totals) == 1, f"{name}: totals reported are {totals}; job.report(step, total, …) keeps one total")
        wrong = {key: value for _, _, row in self.steps for key, value in row.items() if not np.isfinite(value)}
        require(not wrong, f"{name}: metrics reported are not finite: {wrong}; leave out what failed")

    @property
    def last(self) -> int:
        """The last step reported, 0 before the first."""
        return self.steps[-1][0] if self.steps else 0


@dataclass
class Stop:
    """A job's ``stop``: true once a step was reported (after: None, never); counts how often it is asked."""

    report: Recorder
    after: int | None = None
    asked: int = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.after is not None and self.report.last >= self.after


@dataclass
class WatchedReward:
    """A reward with a state of its own: how often it was called. first_fails: the first of several has no score."""

    reward: Reward
    first_fails: bool = False
    calls: list[tuple[int | None, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    """of each call: the step, the prompts' ids, the responses"""
    count: int = 0
    restored: bool = False

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None) -> RewardBatch:
        self.calls.append((step, tuple(prompt.id for prompt in prompts), tuple(map(str, responses))))
        self.count += 1
        batch = self.reward(prompts, responses, step=step)
        if self.first_fails and len(responses) > 2:
            batch.rewards[0] = batch.scores.values[0] = np.nan
        return batch

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        return self.reward.explain(batch, step=step)

    def end_step(self, means: ScoreMatrix) -> None:
        self.reward.end_step(means)

    def state(self) -> Mapping[str, object]:
        return {"count": self.count, "reward": dict(self.reward.state())}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.count, self.restored = int(state["count"]), True
        self.reward.restore(state["reward"])


def plant_reward(responses: Sequence[str]) -> Reward:
    """Return a reward that a model can learn within a few steps: the share of a response's characters that are in a set.

    Args:
        responses: answers of the untrained model. Of a few sets drawn by hash, the one is taken by which they differ most.
    """

    def share(seed: int, response: str) -> float:
        return sum(_planted(seed, character) for character in response) / max(1, len(response))

    def spread(seed: int) -> float:
        shares = [share(seed, response) for response in responses]
        return float(np.std(shares)) if np.mean(shares) <= MOST else 0.0

    best = max(range(PLANTS), key=spread)
    return memory_reward(lambda prompt, response: share(best, response))


def _planted(seed: int, character: str) -> bool:
    return zlib.crc32(f"{seed}{character}".encode(errors="surrogatepass")) % 2 == 0
