"""Preference models, calibration, scalarizer and terms made one reward: `PrincipledReward`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from morlaif_core.errors import RunFailed
from morlaif_core.plugins.components import Component, Options
from morlaif_core.plugins.protocols import PreferenceModel, Scalarizer
from morlaif_core.runs.folder import write_json
from morlaif_core.types import Explanation, Floats, Prompt, RewardBatch, ScoreMatrix

from .calibration import Calibration
from .expected_utility import Expected, Stateful, numbers_in
from .explanation import explain
from .scores import ScoreError, check_finite, read_json
from .terms import ResolvedTerms

FORMAT = 1
CONSTANT = 1e-6
"""A reward whose deviation over the reference is below this is constant: it is shifted, not divided."""


@dataclass(frozen=True)
class RewardScale:
    """``reward = (u - mean) / deviation``: one scale for every scalarizer, so that a KL coefficient means the same.

    Attributes:
        mean, deviation: of u over the reference responses (population) at step 0; 0 and 1 where nothing is standardised.
        start: mean scores of the reference responses in the scalarizer's columns, for `utility.Expected`; else empty.
        notes: what was out of the ordinary when it was fitted, a line each.
        steps: (mean, deviation) at each training step from 0 where terms move, the last one for all later steps: else a
            temperature that falls would change the trade with KL many times over. Empty: mean and deviation at all.
    """

    mean: float = 0.0
    deviation: float = 1.0
    notes: tuple[str, ...] = ()
    start: tuple[float, ...] = ()
    steps: tuple[tuple[float, float], ...] = ()

    def at(self, step: int) -> tuple[float, float]:
        """Return mean and deviation at a training step."""
        return self.steps[min(step, len(self.steps) - 1)] if self.steps else (self.mean, self.deviation)

    def apply(self, u: Floats, step: int = 0) -> Floats:
        """Standardise (n,) of a training step."""
        import numpy as np

        mean, deviation = self.at(step)
        return ((u.astype(np.float64) - mean) / deviation).astype(np.float32)


def fit_reward_scale(
    component: Component[Scalarizer],
    scalarizer: Scalarizer,
    resolved: ResolvedTerms,
    reference: ScoreMatrix,
    *,
    standardize: bool = True,
    options: Options | None = None,
) -> RewardScale:
    """Fit the reward's scale on the reference responses, once per scalarizer and terms; at every step where terms move.

    Group-wise scalarizers are exempt, since theirs is a scale within each group already.

    Args:
        component: the scalarizer's, for what it needs.
        scalarizer: the built one.
        resolved: the terms.
        reference: CALIBRATED scores (n, k) of the reference responses; n >= 1.
        standardize: False leaves u as it is.
        options: the scalarizer's, for what it needs with them; None: what it always needs.

    Raises:
        ScoreError: the scalarizer returns what is no reward.
    """
    import numpy as np

    if not standardize or "groups" in (component.needs if options is None else component.all_needs(options)):
        return RewardScale()
    if not len(reference.values):
        raise ScoreError("there are no reference responses to fit the reward's scale on; raise prompts.calibration")
    steps, notes = list[tuple[float, float]](), tuple[str, ...]()
    for step in range(max((schedule.points[-1][0] for schedule in resolved.moves.values()), default=0) + 1):
        u = scalarize(component.name, scalarizer, resolved, reference, step).astype(np.float64)
        mean, deviation = float(u.mean()), float(u.std())
        if deviation < CONSTANT:
            when = f" at step {step}" if resolved.moves else ""
            flat = f"scalarizer {component.name} gives every reference response the same reward{when}"
            notes, deviation = notes or (f"{flat}: it is shifted, not scaled",), 1.0
        steps.append((mean, deviation))
    return RewardScale(*steps[0], notes, steps=tuple(steps) if len(steps) > 1 else ())


def scalarize(name: str, scalarizer: Scalarizer, resolved: ResolvedTerms, scores: ScoreMatrix, step: int = 0) -> Floats:
    """Return u (n,) for calibrated scores (n, k), before it is standardised.

    Raises:
        ScoreError: a score is NaN or infinite, which a sort or a rank would hide; the shape is not (n,), or a reward is
            NaN or infinite. Names principle or scalarizer, and row.
    """
    import numpy as np

    check_finite(scores)
    n = len(scores.prompt_ids)
    u = np.asarray(scalarizer(resolved.view(scores, step), resolved.terms(step)))
    if u.shape != (n,):
        raise ScoreError(f"scalarizer {name} returned shape {u.shape} for {n} responses, not ({n},)")
    bad = np.flatnonzero(~np.isfinite(u))
    if len(bad):
        row = int(bad[0])
        seen = ", ".join(f"{p} {v:.4g}" for p, v in zip(scores.principles, scores.values[row], strict=True))
        raise ScoreError(f"scalarizer {name} returned {u[row]} in row {row}, whose scores are: {seen}")
    return u.astype(np.float32)


def save_reward(path: Path, name: str, resolved: ResolvedTerms, scale: RewardScale) -> None:
    """Write reward.json in one step: the scalarizer's name, its resolved terms and the reward's scale."""
    notes = [*resolved.notes, *scale.notes]
    scaling = {"mean": scale.mean, "deviation": scale.deviation, "start": list(scale.start), **_by_step(scale)}
    write_json(
        path, {"format": FORMAT, "scalarizer": name, "terms": resolved.to_json(), "scale": scaling, "notes": notes}
    )


def _by_step(scale: RewardScale) -> dict[str, list[list[float]]]:
    return {"steps": [list(pair) for pair in scale.steps]} if scale.steps else {}


def load_reward_file(path: Path) -> tuple[str, ResolvedTerms, RewardScale]:
    """Read reward.json. Raises `RunFailed` where it is missing, damaged or of another format."""
    content = read_json(path, FORMAT)
    scale = content["scale"]
    steps = tuple((mean, deviation) for mean, deviation in scale.get("steps", ()))
    fitted = RewardScale(scale["mean"], scale["deviation"], start=tuple(scale.get("start", ())), steps=steps)
    return content["scalarizer"], ResolvedTerms.from_json(content["terms"]), fitted


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
    ) -> None:
        self.row_wise = row_wise
        self._step = self._restored = 0
        self.model, self.calibration, self.name = model, calibration, name
        self.scalarizer, self.resolved, self.scale = scalarizer, resolved, scale

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None) -> RewardBatch:
        """Score responses, one for each prompt, at a training step; None: that of the restored state.

        Returns:
            rewards (n,); calibrated scores (n, k), principles of weight 0 among them; the share of scores clipped.

        Raises:
            ScoreError: a score or reward is NaN or infinite, a principle is missing, a shape or row does not fit.
        """
        import numpy as np

        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses: one response for each prompt")
        ids = tuple(prompt.id for prompt in prompts)
        if not ids:
            k = len(self.calibration.principles)
            empty = ScoreMatrix(np.zeros((0, k), dtype=np.float32), self.calibration.principles, ids)
            return RewardBatch(np.zeros(0, dtype=np.float32), empty, 0.0)
        raw = self.model.score(prompts, responses)
        if raw.prompt_ids != ids:
            raise ScoreError(
                f"the preference model scored {len(raw.prompt_ids)} rows that are not the {len(ids)} prompts asked"
            )
        scores, clipped = self.calibration.apply(raw, responses)
        self._step = self._restored if step is None else step
        u = scalarize(self.name, self.scalarizer, self.resolved, scores, self._step)
        return RewardBatch(self.scale.apply(u, self._step), scores, clipped)

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward of a batch; of an empty one, only which columns there are.

        Raises `ScoreError` where groups are ranked. step: as in a call.
        """
        if not self.row_wise:
            raise ScoreError(
                f"scalarizer {self.name} compares the responses of a group: no principle alone decides one"
            )
        step = self._restored if step is None else step
        columns, terms = self.resolved.view(batch.scores, step), self.resolved.terms(step)
        if not len(columns.values):
            return Explanation(columns.principles, columns.values.copy(), (), columns.values)
        weights = self.scalarizer.weights(columns, terms) if isinstance(self.scalarizer, Expected) else None
        explained = explain(self.scalarizer, columns, terms, weights)
        influence = (explained.influence / self.scale.at(step)[1]).astype(explained.influence.dtype)
        return replace(explained, influence=influence)

    def end_step(self, means: ScoreMatrix) -> None:
        """Let a scalarizer with state learn from the step's mean calibrated scores (1, k)."""
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.end_step(self.resolved.view(means, self._step), self.resolved.terms(self._step))

    def metrics(self) -> dict[str, float]:
        """Return what moves over the steps, for the metrics file: scheduled terms as they were in the last call, and the
        numbers of the scalarizer's state."""
        moved = {f"term/{name}": value for name, value in self.resolved.moved(self._step).items()}
        state = self.scalarizer.state() if isinstance(self.scalarizer, Stateful) else {}
        return moved | dict(numbers_in(state, "scalarizer"))

    def state(self) -> Mapping[str, object]:
        """Return what a checkpoint keeps (JSON): calibration, terms and scale, the step that was scored last, and the
        scalarizer's state, if any."""
        inner = {"scalarizer": dict(self.scalarizer.state())} if isinstance(self.scalarizer, Stateful) else {}
        return {"fitted": self._fitted(), "step": self._step, **inner}

    def _fitted(self) -> object:
        """Return all that was fitted, as JSON would read it back."""
        length = self.calibration.length and vars(self.calibration.length)
        fitted = [
            {**vars(self.calibration), "length": length},
            self.resolved.to_json(),
            self.scale.mean,
            self.scale.deviation,
            *_by_step(self.scale).values(),
        ]
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
        if state.get("fitted", self._fitted()) != self._fitted():
            raise RunFailed(
                "the reward was fitted anew since this checkpoint; move the checkpoints away and train again"
            )
        if isinstance(self.scalarizer, Stateful):
            self.scalarizer.restore(cast("Mapping[str, object]", inner))
        self._step = self._restored = cast("int", state.get("step", 0))
