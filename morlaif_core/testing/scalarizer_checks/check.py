"""What a scalarizer must do: `check_scalarizer`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import numpy as np

from morlaif_core.plugins.components import Component
from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.testing.components import check_component, require
from morlaif_core.types import Floats

from .cases import CLIP, Trial
from .options import other_trials, required, trials
from .state import check_copies, check_state
from .terms import check_declared, check_gradient, check_names, check_undeclared

CASES = 50


def check_scalarizer(component: Component[Scalarizer], options: Mapping[str, object] | None = None) -> None:
    """Check a scalarizer against the contract, on seeded random scores, weights, thresholds and priorities.

    Shape for n = 0, 1 and many; a row's reward depends on that row alone; permuting principles with their terms changes
    nothing; finite at scores of 1e4; non-decreasing in every score within the clip range where declared monotone; k = 1
    keeps the order within the clip range; linear in the scores where it supplies that. Equal calls give equal rewards:
    no chance, no state that moves between steps. It pickles, does not change its arguments, neither prints nor warns.

    Where it needs groups: the order of rows means nothing, and what stands in another group changes a group's rewards
    by a shift and a positive factor at most, one for the batch (a scalarizer may whiten over the batch).

    Where it has state (`end_step`, `state`, `restore`): steps move it; it goes through JSON; a restored one gives
    the same rewards and, after the same steps, the same state; a damaged state is refused or does no harm.

    All this holds at every step that the terms may carry (tried at 0, 5 and 1000); a reward may change with the step.
    A term (weight, threshold, priority) that is not among `uses` changes nothing, and one that is changes something.
    Other ids of the same prompts change nothing. Where it has a `gradient`, differences of its rewards agree with it.

    An option `temperature` that is not given is tried at several values besides its default. Where building it warns
    that these options are "not monotone", that is not asked of it. Each other option that is not given is tried at a
    few values, one at a time: a flag's other value, each of a `Literal`, numbers within the bounds. Rewards must be
    finite and of the right shape; a `UserError` says that a value does not fit, and it is left out.

    Args:
        component: what the plugin's hook returned.
        options: options other than the defaults; for those that have none.

    Raises:
        ContractError: what does not hold, with the options, the terms and the row.
    """
    check_component("scalarizer", component)
    given = dict(options or {})
    for trial in trials(component, given):
        _shapes(trial)
        _groups(trial) if trial.grouped else _rows(trial)
        _permutation(trial)
        _far_scores(trial)
        _order(trial)
        if trial.monotone:
            _monotone(trial)
        if trial.linear:
            _linear(trial)
        check_names(trial)
        check_undeclared(component, trial)
        check_gradient(trial)
        check_copies(trial)
        check_state(trial)
    for trial in other_trials(component, given):
        _finite(trial)
        check_undeclared(component, trial)
    bare = required(component, given)
    check_declared(component, chain(trials(component, given), trials(component, bare), other_trials(component, bare)))


def _finite(trial: Trial) -> None:
    """One finite number for each response, ties among them, within the clip range."""
    for seed, (n, k) in enumerate(((0, 3), (1, 1), (1, 4), (16, 3), (16, 12))):
        case = trial.case(seed, n, k)
        trial.call(case)
        trial.call(case.with_values(np.zeros_like(case.scores.values)))


def _shapes(trial: Trial) -> None:
    """Any n, 0 and 1 among them, and any k; the same again from the same call, and from another build."""
    other = trial.build()
    for n in (0, 1, 2, 4, 33):
        for k in (1, 2, 3, 12):
            case = trial.case(10 * n + k, n, k)
            rewards = trial.call(case)
            trial.same(trial.call(case), rewards, "the same call gives another reward", case, exact=True)
            trial.same(trial.call(case, other), rewards, "built again, it gives another reward", case, exact=True)


def _rows(trial: Trial) -> None:
    """A row alone gets what it gets in a batch."""
    for seed in range(3):
        case = trial.case(seed, 16, 5)
        whole = trial.call(case)
        for row in range(16):
            alone = case.rows([row])
            what = f"the reward of row {row} depends on other rows; alone it is another"
            trial.same(trial.call(alone), whole[row : row + 1], what, alone)


def _groups(trial: Trial) -> None:
    """The order of rows means nothing; groups are ranked apart, up to one shift and factor of the batch."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        case = trial.case(seed, 16, 1 + seed)
        whole = trial.call(case)
        order = rng.permutation(16)
        mixed = case.rows(order)
        trial.same(trial.call(mixed), whole[order], "the order of rows matters", mixed)
        ids = np.array(case.scores.prompt_ids)
        for group in dict.fromkeys(case.scores.prompt_ids):
            rows = np.flatnonzero(ids == group)
            alone = case.rows(rows)
            fits = _on_a_rising_line(trial.call(alone), whole[rows])
            require(fits, f"{trial.name}: group {group} alone is ordered otherwise than in a batch; {alone}")
        values = case.scores.values.copy()
        values[ids == ids[0]] = rng.uniform(-CLIP, CLIP, values[ids == ids[0]].shape)
        others, changed = ids != ids[0], case.with_values(values)
        fits = _on_a_rising_line(trial.call(changed)[others], whole[others])
        require(fits, f"{trial.name}: other scores in {ids[0]} change how the other groups are ordered; {changed}")


def _on_a_rising_line(seen: Floats, expected: Floats) -> bool:
    """Say whether seen = a * expected + b with a > 0, to within rounding."""
    if not len(seen):
        return True
    s, e = seen.astype(np.float64) - seen.mean(), expected.astype(np.float64) - expected.mean()
    size = 1e-5 * max(1.0, float(np.abs(seen).max()))
    if float(np.abs(e).max()) <= 1e-5 * max(1.0, float(np.abs(expected).max())):
        return bool(np.abs(s).max() <= 10 * size)
    slope = float(e @ s) / float(e @ e)
    return slope > 0 and bool(np.abs(s - slope * e).max() <= 10 * size + 1e-3 * np.abs(s).max())


def _permutation(trial: Trial) -> None:
    """The order in which principles are listed means nothing."""
    for seed, k in enumerate((2, 3, 5, 12)):
        case = trial.case(seed, 16, k)
        moved = case.columns(np.random.default_rng(seed).permutation(k)[::-1])
        what = "permuting principles together with their terms changes the reward"
        trial.same(trial.call(moved), trial.call(case), what, moved)


def _far_scores(trial: Trial) -> None:
    """No overflow far outside the clip range."""
    for seed in range(6):
        case = trial.case(seed, 8, 4, size=1e4)
        values = case.scores.values
        trial.call(case)
        trial.call(case.with_values(np.where(values > 0, np.float32(1e4), np.float32(-1e4))))
        trial.call(case.with_values(np.full_like(values, 1e4 if seed % 2 else -1e4)))


def _order(trial: Trial) -> None:
    """With one principle, a better score is a better reward (within a group where it needs groups)."""
    grid = np.linspace(-CLIP, CLIP, 25, dtype=np.float32)[:, None]
    for seed in range(6):
        case = trial.case(seed, 25, 1, group=25)
        if case.scores.spread is not None:
            case.scores.spread[:] = 0.5  # the same doubt of every row
        rewards = trial.call(case.with_values(grid))
        steps = np.diff(rewards)
        fits = bool((steps > 0).all() if trial.strict else (steps >= 0).all())
        require(fits, f"{trial.name}: with one principle the order is not kept: {rewards.tolist()}; {case}")


def _monotone(trial: Trial) -> None:
    """Raising one score never lowers the row's reward, within the clip range; of one row in each group."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        case = trial.case(seed, 24, int(rng.integers(1, 13)))
        before, values = trial.call(case), case.scores.values.copy()
        rows = np.arange(24)
        if trial.grouped:
            rows = np.unique(np.array(case.scores.prompt_ids), return_index=True)[1]
        columns = rng.integers(values.shape[1], size=len(rows))
        old = values[rows, columns]
        # Small steps too: what is not monotone may be so close to a threshold alone.
        values[rows, columns] += (CLIP - old) * rng.uniform(0, 1, len(rows)) ** 3
        change = (trial.call(case.with_values(values)) - before)[rows]
        for place in np.flatnonzero(change < -1e-5 * np.maximum(1.0, np.abs(before[rows]))):
            row, column = int(rows[place]), int(columns[place])
            require(
                False,
                f"{trial.name}: declared monotone, but raising principle p{column} from {old[place]} to "
                f"{values[row, column]} changes the reward by {change[place]}; {case.row(row)}",
            )


def _linear(trial: Trial) -> None:
    """Halfway between two rows of scores lies half of each one's reward."""
    for seed in range(10):
        case = trial.case(seed, 12, 1 + seed, group=12)  # one prompt, so one prompt's features
        turned = np.roll(case.scores.values, 1, axis=0)
        half = case.with_values(((case.scores.values + turned) / 2).astype(np.float32))
        expected = ((trial.call(case) + trial.call(case.with_values(turned))) / 2).astype(np.float32)
        trial.same(trial.call(half), expected, "said to be linear in the scores, it is not", half)
