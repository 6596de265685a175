"""The end of a training step, told to a reward whose scalarizer learns between steps: `SteppedReward`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from morlaif_core.errors import RunFailed
from morlaif_core.types import Explanation, Prompt, RewardBatch, ScoreMatrix

from .expected_utility import Stateful
from .reward import PrincipledReward


class SteppedReward:
    """A `Reward` in training: who trains need not end a step; the core does where `end_step` is not called.

    A step that was scored ends when it is reported, or when the next one is scored: with the mean of each principle's
    scores in it, responses without a reward left out. A trainer that calls `end_step`, with means over several processes,
    say, is left to do so. A call without a step is one of the step reported last.
    """

    def __init__(self, reward: PrincipledReward) -> None:
        self.reward = reward
        self._fresh = self._inner()
        self._reported: int | None = None
        self._open: int | None = None
        """The step of the scores below; None: a restored one, which has ended."""
        self._sums: dict[str, tuple[float, int]] = {}
        """principle -> sum and number of its scores in the step that has not ended"""
        self._by_trainer = self._used = False

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None) -> RewardBatch:
        """Score responses, one for each prompt: see `PrincipledReward`."""
        step = self._reported if step is None else step
        if self._sums and (self._open is None or step != self._open):
            self._end()
        batch = self.reward(prompts, responses, step=step)
        self._open, self._used = step, True
        if isinstance(self.reward.scalarizer, Stateful) and not self._by_trainer:
            self._add(batch)
        return batch

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward of a batch: see `PrincipledReward`."""
        return self.reward.explain(batch, step=self._reported if step is None else step)

    def end_step(self, means: ScoreMatrix) -> None:
        """End the step, with the mean calibrated scores (1, k); the trainer ends all that follow too."""
        # A trainer may end its first step only after it has reported it, which ended it.
        ended = not self._by_trainer and self._used and not self._sums
        self._by_trainer = self._used = True
        self._sums = {}
        if not ended:
            self.reward.end_step(means)

    def reported(self, step: int, trainer: str) -> None:
        """End the step that the trainer reports.

        Raises:
            RunFailed: the scalarizer has learnt nothing by the second step, since the trainer neither scores in this process
                nor calls `end_step`.
        """
        if self._sums:
            self._end()
        stands_still = self._fresh is not None and self._inner() == self._fresh
        # Not at the first report, which may come before any step.
        if self._reported is not None and not self._used and stands_still:
            raise RunFailed(
                f"scalarizer '{self.reward.name}' learns at the end of each step, and trainer '{trainer}' has not scored a "
                "response in this process nor called job.reward.end_step(means); it must do one of them in each step"
            )
        self._reported = step

    def state(self) -> Mapping[str, object]:
        """Return what a checkpoint keeps (JSON); scores of a step that has not ended are part of it."""
        return {**self.reward.state(), **({"open": self._sums} if self._sums else {})}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned."""
        self.reward.restore(state)
        self._open = self._reported = None
        saved = cast("Mapping[str, tuple[float, int]]", state.get("open", {}))
        self._sums = {name: (total, count) for name, (total, count) in saved.items()}

    def _inner(self) -> object:
        """The scalarizer's state; None where it has none."""
        return self.reward.state().get("scalarizer")

    def _add(self, batch: RewardBatch) -> None:
        import numpy as np

        # Those without a reward enter no mean; of the others a principle of weight 0 may have failed.
        scores = batch.scores.take(np.flatnonzero(~np.isnan(batch.rewards)))
        known = ~np.isnan(scores.values)
        sums = np.where(known, scores.values, 0).sum(axis=0, dtype=np.float64)
        for name, total, count in zip(scores.principles, sums.tolist(), known.sum(axis=0).tolist(), strict=True):
            before = self._sums.get(name, (0.0, 0))
            self._sums[name] = (before[0] + total, before[1] + count)

    def _end(self) -> None:
        import numpy as np

        means = [total / count if count else np.nan for total, count in self._sums.values()]
        names, self._sums = tuple(self._sums), {}
        self.reward.end_step(ScoreMatrix(np.array([means], dtype=np.float32), names, ("mean",)))
