"""What `check_scalarizer` asks of copies and of state: pickles, `end_step`, `state`, `restore`."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.reward.expected_utility import Stateful
from morlaif_core.testing.components import require
from morlaif_core.types import ScoreMatrix

from .cases import Case, Trial, quietly

STATE = ("end_step", "state", "restore")
STEPS = 6


def check_copies(trial: Trial) -> None:
    """A copy by pickle gives the same rewards."""
    case = trial.case(5, 8, 3)
    try:
        twin = pickle.loads(pickle.dumps(trial.scalarizer))
    except Exception as error:
        require(False, f"{trial.name}: it does not pickle ({type(error).__name__}: {error})")
    trial.same(trial.call(case, twin), trial.call(case), "a pickled copy gives another reward", case, exact=True)


def check_state(trial: Trial) -> None:
    """What learns between steps can be saved, restored and goes on as if nothing had happened."""
    has = [name for name in STATE if callable(getattr(trial.scalarizer, name, None))]
    if not has:
        return
    lacks = ", ".join(sorted(set(STATE) - set(has)))
    require(not lacks, f"{trial.name}: it has {', '.join(has)}, but no {lacks}: its state is not saved")
    first = _fresh(trial)
    begun = _state(trial, first)
    handed, case = first.state(), trial.case(6, 8, 3)
    trial.call(case, cast("Scalarizer", first))
    require(_state(trial, first) == begun, f"{trial.name}: a call moves its state; only end_step may; {case}")
    _walk(trial, first, range(STEPS))
    moved = _state(trial, first)
    require(moved != begun, f"{trial.name}: end_step never moves its state, {begun}")
    kept = json.loads(json.dumps(handed)) == begun
    require(kept, f"{trial.name}: the state handed out before end_step was changed by it")
    _check_restored(trial, first, moved, case)
    _check_permuted(trial, case)
    for what, damaged in _damaged(moved):
        _check_damaged(trial, what, damaged, case)


def _fresh(trial: Trial) -> Stateful:
    return cast("Stateful", trial.build())


def _state(trial: Trial, scalarizer: Stateful) -> dict[str, Any]:
    """Return its state as a checkpoint keeps it."""
    state: Any = quietly(scalarizer.state, trial.name, "state()")
    require(isinstance(state, Mapping), f"{trial.name}: state() is {type(state).__name__}, not a mapping")
    try:
        kept: dict[str, Any] = json.loads(json.dumps(dict(state), allow_nan=False))
    except (TypeError, ValueError) as error:
        require(False, f"{trial.name}: its state is no JSON ({error}): {state}")
    return kept


def _walk(trial: Trial, scalarizer: Stateful, seeds: range, order: Any = None) -> None:
    """Let it learn from a few steps' mean scores (1, 3)."""
    for seed in seeds:
        whole = trial.case(seed, 1, 3)
        case = whole if order is None else whole.columns(order)
        means = ScoreMatrix(case.scores.values, case.scores.principles, ("mean",))
        quietly(lambda m=means, c=case: scalarizer.end_step(m, c.terms), trial.name, f"end_step, {case}")  # type: ignore[misc]


def _check_restored(trial: Trial, first: Stateful, moved: dict[str, Any], case: Case) -> None:
    """One restored from JSON, and a pickled one, give the same rewards now and after more of the same steps."""
    second = _fresh(trial)
    quietly(lambda: second.restore(copy.deepcopy(moved)), trial.name, f"restore({moved})")
    for where, other in (("restored", second), ("pickled", pickle.loads(pickle.dumps(first)))):
        require(_state(trial, other) == moved, f"{trial.name}: {where}, its state is another: {_state(trial, other)}")
        for _ in range(2):
            now = trial.call(case, cast("Scalarizer", first))
            what = f"{where} after {STEPS} steps or more, it gives another reward"
            trial.same(trial.call(case, cast("Scalarizer", other)), now, what, case, exact=True)
            _walk(trial, first, range(STEPS, STEPS + 3))
            _walk(trial, other, range(STEPS, STEPS + 3))
            same = _state(trial, first) == _state(trial, other)
            require(same, f"{trial.name}: {where}, the same steps lead to another state: {_state(trial, other)}")
        quietly(lambda: first.restore(copy.deepcopy(moved)), trial.name, f"restore({moved})")


def _check_permuted(trial: Trial, case: Case) -> None:
    """What was learned belongs to a principle's name, not to its place."""
    order, plain, turned = np.array([2, 0, 1]), _fresh(trial), _fresh(trial)
    _walk(trial, plain, range(STEPS))
    _walk(trial, turned, range(STEPS), order)
    moved = case.columns(order)
    what = "permuting principles changes what it learns"
    expected = trial.call(case, cast("Scalarizer", plain))
    trial.same(trial.call(moved, cast("Scalarizer", turned)), expected, what, moved)


def _damaged(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """States that are not this scalarizer's: empty, another's, and each number spoilt in turn."""
    yield "an empty state", {}
    yield "another's state", {"someone-elses": {"p0": 1.0}}
    for path in _numbers(state):
        for value in (float("nan"), "damaged", None):
            spoilt = copy.deepcopy(state)
            holder: Any = spoilt
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            yield f"a state whose {'/'.join(map(str, path))} is {value}", spoilt


def _numbers(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every number in a JSON value."""
    entries = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for key, value in entries:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*path, key)
        yield from _numbers(value, (*path, key))


def _check_damaged(trial: Trial, what: str, damaged: dict[str, Any], case: Case) -> None:
    """A damaged state is refused when it is restored, or rewards stay finite and steps go on."""
    scalarizer = _fresh(trial)
    try:
        scalarizer.restore(damaged)
    except Exception:  # whatever the plugin says: it said it in time
        return
    try:
        trial.call(case, cast("Scalarizer", scalarizer))
        _walk(trial, scalarizer, range(2))
        trial.call(case, cast("Scalarizer", scalarizer))
        _state(trial, scalarizer)
    except AssertionError as error:
        require(False, f"restore accepts {what}, and then: {error}")
