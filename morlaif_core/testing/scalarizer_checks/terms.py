"""What `check_scalarizer` asks of a reward's sources: the terms it declares, prompt ids, its own gradient."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np

from morlaif_core.plugins.components import Component, Setting
from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.reward.expected_utility import Differentiable
from morlaif_core.testing.components import require
from morlaif_core.types import Floats

from .cases import Case, Trial, make_random_terms, quietly

CASES = 6
LEARNED = (0, 3)
"""Training steps after which rewards are looked at, of what learns between steps."""
STEP = 1e-3
"""In calibrated units, of a gradient's differences: below any threshold's width, above float32's rounding."""
NEAR = 0.02
"""Error of a gradient that is let pass, as a share of its largest entry."""


def check_undeclared(component: Component[Scalarizer], trial: Trial) -> None:
    """Another weight, threshold or priority changes nothing unless the component says that it uses it."""
    for term in sorted(set(get_args(Setting)) - component.uses):
        case = _changed_by(trial, term)
        said = f"'{term}' is not among its uses, but another {term} changes the reward"
        require(case is None, f"{trial.name}: {said}; {case}")


def check_declared(component: Component[Scalarizer], trials: Iterable[Trial]) -> None:
    """Each term that the component says it uses changes something, under some of the options."""
    idle = set(component.uses)
    for trial in trials:
        idle -= {term for term in idle if _changed_by(trial, term) is not None}
        if not idle:
            return
    for term in sorted(idle):
        said = f"declares that it uses '{term}', but another {term} changes nothing"
        require(False, f"{component.name}: it {said}, neither a reward nor what it learns; leave it out of `uses`")


def _changed_by(trial: Trial, term: str) -> Case | None:
    """Return a case in which another value of this term changes the reward, now or after steps under it."""
    for seed in range(CASES):
        case = trial.case(seed, 12, 2 + seed % 4)
        other = make_random_terms(np.random.default_rng(1000 + seed), 2 + seed % 4)
        moved = replace(case, terms=replace(case.terms, **{term: getattr(other, term)}))
        for steps in LEARNED:
            seen, expected = (trial.call(one, _learned(trial, one, steps)) for one in (moved, case))
            if not np.allclose(seen, expected, rtol=1e-4, atol=1e-5):
                return moved
    return None


def _learned(trial: Trial, case: Case, steps: int) -> Scalarizer:
    """A fresh one after a few steps, if it learns at all, whose mean scores are rows of the case in turn."""
    scalarizer = trial.build()
    learn = getattr(scalarizer, "end_step", None)
    for step in range(steps if learn is not None else 0):
        means = case.rows([step % len(case.scores.prompt_ids)]).scores
        quietly(lambda m=means: learn(m, case.terms), trial.name, f"end_step, {case}")  # type: ignore[misc]
    return scalarizer


def check_names(trial: Trial) -> None:
    """Prompts may have any ids: all that an id says is which rows belong together."""
    for seed in range(CASES):
        case = trial.case(seed, 16, 1 + seed)
        ids = list(dict.fromkeys(case.scores.prompt_ids))
        # Of other lengths, and sorted the other way round.
        names = {old: f"{'q' * (1 + place % 3)}{len(ids) - place}" for place, old in enumerate(ids)}
        renamed = replace(case.scores, prompt_ids=tuple(names[old] for old in case.scores.prompt_ids))
        moved, what = replace(case, scores=renamed), "other names of the same prompts change the reward"
        trial.same(trial.call(moved), trial.call(case), what, moved)


def check_gradient(trial: Trial) -> None:
    """Where it knows its gradient, differences of its rewards say the same; at a kink, either side or between."""
    if trial.grouped or not isinstance(trial.scalarizer, Differentiable):
        return
    for seed in range(2 * CASES):
        case = trial.case(seed, 1, 1 + seed % 5)
        scalarizer = _learned(trial, case, LEARNED[seed % 2])
        slopes = _slopes(trial, cast("Differentiable", scalarizer), case)
        below, above, rounding = _differences(trial, scalarizer, case)
        slack = NEAR * np.maximum(np.abs(below), np.abs(above)).max() + rounding
        low, high = np.minimum(below, above) - slack, np.maximum(below, above) + slack
        for place in np.flatnonzero((slopes < low) | (slopes > high)):
            seen = f"gradient() says {slopes[place]:.5g} for p{place}"
            sides = f"differences of its rewards {below[place]:.5g} below and {above[place]:.5g} above"
            require(False, f"{trial.name}: {seen}, {sides}; {case.row(0)}")


def _slopes(trial: Trial, scalarizer: Differentiable, case: Case) -> Floats:
    """Return its gradient (k,) at one row, after a look at its form."""
    k, before = len(case.scores.principles), pickle.dumps((case.scores, case.terms))
    where = f"gradient(), {case}"
    slopes: Any = quietly(lambda: scalarizer.gradient(case.scores, case.terms), trial.name, where)
    changed = pickle.dumps((case.scores, case.terms)) != before
    require(not changed, f"{trial.name}: gradient() changed its arguments; {case}")
    array = isinstance(slopes, np.ndarray)
    require(array, f"{trial.name}: gradient() returned {type(slopes).__name__}, not a numpy array; {case}")
    require(slopes.shape == (k,), f"{trial.name}: gradient() returned shape {slopes.shape}, not ({k},); {case}")
    finite = bool(np.isfinite(slopes).all())
    require(finite, f"{trial.name}: gradient() is not finite but {slopes.tolist()}; {case}")
    return np.asarray(slopes)


def _differences(trial: Trial, scalarizer: Scalarizer, case: Case) -> tuple[Floats, Floats, float]:
    """Return the slopes (k,) below and above one row, and how far rounding of rewards may have moved them."""
    values, k = case.scores.values, len(case.scores.principles)
    shifts = np.concatenate([np.zeros((1, k)), -STEP * np.eye(k), STEP * np.eye(k)])
    moved = (values.astype(np.float64) + shifts).astype(np.float32)
    u = trial.call(case.rows([0] * (2 * k + 1)).with_values(moved), scalarizer).astype(np.float64)
    # The steps that float32 really took.
    taken = np.abs(moved[1:].astype(np.float64) - values).max(axis=1)
    rounding = 4 * float(np.finfo(np.float32).eps) * float(np.abs(u).max()) / STEP
    return (u[0] - u[1 : k + 1]) / taken[:k], (u[k + 1 :] - u[0]) / taken[k:], rounding
