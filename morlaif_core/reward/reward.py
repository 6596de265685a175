"""Preference models, calibration, scalarizer and terms made one reward: `PrincipledReward`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from morlaif_core.errors import RunFailed
from morlaif_core.plugins.protocols import PreferenceModel, Scalarizer
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.types import Explanation, Prompt, RewardBatch, ScoreMatrix

from .calibration import Calibration
from .expected_utility import Expected, Stateful, numbers_in
from .explanation import explain
from .pessimism import pessimistic
from .scale import RewardScale, scalarize_scored
from .score_checks import ScoreError, scored_rows


class PrincipledReward:
    """A `Reward` in this process: preference model, calibration, scalarizer, terms and scale, in this order.

    Args:
        model: gives raw scores (n, k) of all principles.
        calibration: makes them comparable and bounds them.
        scalarizer: the built one.
        name: the scalarizer's, for messages.
        resolved: its terms.
        scale: the reward's.
        row_wise: a response's reward depends on that response alone, not on its group.
        pessimism: deviations that are taken off the scores that the scalarizer sees; the batch has them whole.
    """

    def __init__(
        self,
        model: PreferenceModel,
        calibration: Calibration,
        scalarizer: Scalarizer,
        *,
        name: str,
        resolved: ResolvedTerms,
        scale: RewardScale,
        row_wise: bool = True,
        pessimism: float = 0.0,
    ) -> None:
        self.pessimism = pessimism
        self.row_wise = row_wise
        self._step = self._restored = 0
        self.model, self.calibration, self.name = model, calibration, name
        self.scalarizer, self.resolved, self.scale = scalarizer, resolved, scale

    def __repr__(self) -> str:
        """Say what it is made of."""
        return f"<Reward: {self.name} of {', '.join(self.resolved.principles)}>"

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None) -> RewardBatch:
        """Score responses, one for each prompt, at a training step; None: that of the restored state.

        Returns:
            rewards (n,); calibrated scores (n, k), principles of weight 0 among them; the share of scores clipped. A row
            with a score that failed (NaN), of a principle that counts, has a NaN reward, and is no part of its group.

        Raises:
            ScoreError: a score is infinite, a reward is no number, a principle is missing or failed in every one of several
                rows, none of several rows has all its scores, a shape or row does not fit.
        """
        import numpy as np

        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses: one response for each prompt")
        ids = tuple(prompt.id for prompt in prompts)
        # A preference model need not take an empty batch.
        if not ids:
            k = len(self.calibration.principles)
            empty = ScoreMatrix(np.zeros((0, k), dtype=np.float32), self.calibration.principles, ids)
            return RewardBatch(np.zeros(0, dtype=np.float32), empty, 0.0)
        raw = self.model.score(prompts, responses)
        # Rows in another order would give each response the reward of another one, unseen.
        if raw.prompt_ids != ids:
            raise ScoreError(
                f"the preference model scored {len(raw.prompt_ids)} rows that are not the {len(ids)} prompts asked"
            )
        # A single one that failed may be the text's fault; all of several are the model's.
        several = len(ids) > 1
        scores, clipped = self.calibration.apply(raw, responses, part=not several)
        self._step = self._restored if step is None else step
        u = scalarize_scored(self.name, self.scalarizer, self.resolved, self._lowered(scores), self._step)
        if several and np.isnan(u).all():
            raise ScoreError("no response has a score under every principle: the preference models give NaN")
        return RewardBatch(self.scale.apply(u, self._step), scores, clipped, raw)

    def _lowered(self, scores: ScoreMatrix) -> ScoreMatrix:
        return pessimistic(scores, self.pessimism, self.calibration.clip, self.resolved.principles)

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward of a batch; of an empty one, only which columns there are.

        A row whose score failed has influence NaN, and "" decided it. Raises `ScoreError` where groups are ranked. step:
        as in a call.
        """
        import numpy as np

        if not self.row_wise:
            raise ScoreError(
                f"scalarizer {self.name} compares the responses of a group: no principle alone decides one"
            )
        step = self._restored if step is None else step
        columns, terms = self.resolved.view(self._lowered(batch.scores), step), self.resolved.terms(step)
        if not len(columns.values):
            return Explanation(columns.principles, columns.values.copy(), (), columns.values)
        rows = scored_rows(columns)
        known = columns.take(rows)
        weights = self.scalarizer.weights(known, terms) if isinstance(self.scalarizer, Expected) else None
        explained = explain(self.scalarizer, known, terms, weights)
        influence, decided = np.full_like(columns.values, np.nan), [""] * len(columns.values)
        # In units of the reward that the trainer sees, which was divided by the deviation.
        influence[rows] = explained.influence / self.scale.at(step)[1]
        for row, name in zip(rows, explained.decided, strict=True):
            decided[row] = name
        return Explanation(columns.principles, influence, tuple(decided), columns.values)

    def end_step(self, means: ScoreMatrix) -> None:
        """Let a scalarizer with state learn from the step's mean calibrated scores (1, k)."""
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.end_step(self.resolved.view(means, self._step), self.resolved.terms(self._step))

    def metrics(self) -> dict[str, float]:
        """Return what moves over the steps, for the metrics file: scheduled terms as they were in the last call, and the
        numbers of the scalarizer's state."""
        scheduled = {f"term/{name}": value for name, value in self.resolved.scheduled(self._step).items()}
        state = self.scalarizer.state() if isinstance(self.scalarizer, Stateful) else {}
        return scheduled | dict(numbers_in(state, "scalarizer"))

    def state(self) -> Mapping[str, object]:
        """Return what a checkpoint keeps (JSON): calibration, terms and scale, the step that was scored last, and the
        scalarizer's state, if any."""
        inner = {"scalarizer": dict(self.scalarizer.state())} if isinstance(self.scalarizer, Stateful) else {}
        return {"fitted": self._fitted(), "step": self._step, **inner}

    def _fitted(self) -> object:
        """Return all that was fitted, as JSON would read it back."""
        length = self.calibration.length and vars(self.calibration.length)
        # The deviations follow from the rest, and older checkpoints have none.
        calibration = {name: value for name, value in vars(self.calibration).items() if name != "deviation"}
        fitted = [
            {**calibration, "length": length},
            self.resolved.to_json(),
            self.scale.mean,
            self.scale.deviation,
            *([self.scale.steps] if self.scale.steps else []),
        ]
        # A checkpoint comes back from JSON, where tuples are lists: compared as such.
        return json.loads(json.dumps(fitted))

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is that of another scalarizer.
            RunFailed: calibration, terms or scale are not those that the state was saved with.
        """
        inner = state.get("scalarizer")
        if isinstance(self.scalarizer, Stateful) != (inner is not None):
            raise ValueError(f"the state saved is not one of scalarizer {self.name}")
        # Before anything is restored. A state of an earlier version names nothing to compare.
        if state.get("fitted", self._fitted()) != self._fitted():
            raise RunFailed(
                "the reward was fitted again after this checkpoint; move the checkpoints away and train again"
            )
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.restore(cast("Mapping[str, object]", inner))
        self._step = self._restored = cast("int", state.get("step", 0))
