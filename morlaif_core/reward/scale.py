"""One scale for every scalarizer's reward, fitted on the reference responses; at every step where terms are scheduled."""

from __future__ import annotations

from dataclasses import dataclass, replace

from morlaif_core.plugins.components import Component, Options
from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.types import Floats, ScoreMatrix

from .score_checks import ScoreError, check_finite, scored_rows, select

CONSTANT = 1e-6
"""A reward whose deviation over the reference is below this is constant: it is shifted, not divided."""


@dataclass(frozen=True)
class RewardScale:
    """``reward = (u - mean) / deviation``: one scale for every scalarizer, so that a KL coefficient means the same.

    Leaves out: a running scale, as many PPO codes have, since a resumed run would estimate another one.

    Attributes:
        mean, deviation: of u over the reference responses (population) at step 0; 0 and 1 where nothing is standardised.
        start: mean scores of the reference responses in the scalarizer's columns, for `Expected`; else empty.
        notes: what was out of the ordinary when it was fitted, a line each.
        steps: (mean, deviation) at each training step from 0 where terms are scheduled, the last one for all later steps:
            else a temperature that falls would change the trade with KL many times over. Empty: mean and deviation at all.
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
    group: int | None = None,
) -> RewardScale:
    """Fit the reward's scale on the reference responses, once per scalarizer and terms; at every step where
    terms are scheduled.

    Group-wise scalarizers see groups of the size that they are trained on, drawn from all reference responses, since a
    rank has a deviation of 0.50, 0.37 or 0.33 in groups of 2, 4 or 8. Leaves out: groups of one prompt's responses, of
    which there are two: where responses tie more often than those of unlike prompts do, the reward varies by less.

    Args:
        component: the scalarizer's, for what it needs.
        scalarizer: the built one.
        resolved: the terms.
        reference: CALIBRATED scores (n, k) of the reference responses; n >= 1.
        standardize: False leaves u as it is.
        options: the scalarizer's, for what it needs with them; None: what it always needs.
        group: responses to a prompt in training; None: not known, and a group-wise reward stays as it is.

    Raises:
        ScoreError: the scalarizer returns what is no reward.
    """
    import numpy as np

    grouped = "groups" in (component.needs if options is None else component.all_needs(options))
    if not standardize or (grouped and group is None):
        return RewardScale()
    if grouped and group is not None:
        reference = _in_groups(reference, group)
    if not len(reference.values):
        raise ScoreError("there are no reference responses to fit the reward's scale on; raise prompts.calibration")
    steps, notes = list[tuple[float, float]](), tuple[str, ...]()
    # Every step up to the last point, in order: a scalarizer with state goes from one to the next.
    for step in range(max((schedule.points[-1][0] for schedule in resolved.schedules.values()), default=0) + 1):
        u = scalarize(component.name, scalarizer, resolved, reference, step).astype(np.float64)
        mean, deviation = float(u.mean()), float(u.std())
        if deviation < CONSTANT:
            when = f" at step {step}" if resolved.schedules else ""
            flat = f"scalarizer {component.name} gives every reference response the same reward{when}"
            # One note, of the first such step.
            notes, deviation = notes or (f"{flat}: it is shifted, not scaled",), 1.0
        steps.append((mean, deviation))
    return RewardScale(*steps[0], notes, steps=tuple(steps) if len(steps) > 1 else ())


def _in_groups(reference: ScoreMatrix, size: int) -> ScoreMatrix:
    """Return the rows in groups of a size, drawn once and for all; those that fill no group are left out."""
    import numpy as np

    rows = np.random.default_rng(0).permutation(len(reference.values))
    size = min(size, max(len(rows), 1))  # fewer responses than a group has: all of them
    rows = rows[: len(rows) // size * size]
    ids = tuple(f"group-{place // size}" for place in range(len(rows)))
    return replace(reference.take(rows), prompt_ids=ids)


def scalarize_scored(
    name: str, scalarizer: Scalarizer, resolved: ResolvedTerms, scores: ScoreMatrix, step: int = 0
) -> Floats:
    """Return u (n,) as `scalarize` does, NaN in the rows where a score of a principle that counts failed."""
    import numpy as np

    counted = select(scores, resolved.principles)
    rows = scored_rows(counted)
    u = np.full(len(scores.prompt_ids), np.nan, dtype=np.float32)
    if len(rows):
        # Without those that failed, which would be ranked, or move a group's mean.
        u[rows] = scalarize(name, scalarizer, resolved, counted.take(rows), step)
    return u


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
    # A column (n, 1) would broadcast with the trainer's (n,) to (n, n) without an error.
    if u.shape != (n,):
        raise ScoreError(f"scalarizer {name} returned shape {u.shape} for {n} responses, not ({n},)")
    bad = np.flatnonzero(~np.isfinite(u))
    if len(bad):
        row = int(bad[0])
        seen = ", ".join(f"{p} {v:.4g}" for p, v in zip(scores.principles, scores.values[row], strict=True))
        raise ScoreError(f"scalarizer {name} returned {u[row]} in row {row}, whose scores are: {seen}")
    return u.astype(np.float32)
