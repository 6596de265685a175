"""`check_scalarizer` finds a state that is not saved, not restored, or moved where it may not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from morlaif_core import Component, NoOptions, Scalarizer, ScoreMatrix, Terms, component
from tests.helpers.contracts import assert_found


class Learning:
    """Shifts by what it has seen: a scalarizer with state, with one mistake or none."""

    def __init__(self, mistake: str = "") -> None:
        self.mistake, self.pace = mistake, 1.0
        self.seen: dict[str, float] = {}

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        if self.mistake == "learns in a call":
            self.seen["p0"] = self.seen.get("p0", 0.0) + 1e-9
        weights = np.array([np.exp(self.seen.get(name, 0.0)) for name in scores.principles])
        return (scores.values * weights).sum(axis=1) / weights.sum()

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        if self.mistake == "raises":
            raise KeyError("p9")
        if self.mistake == "prints":
            print("a step")
        if self.mistake == "stands still":
            return
        self.pace *= 0.5
        for place, (name, value) in enumerate(zip(means.principles, means.values[0], strict=True)):
            key = f"p{place}" if self.mistake == "by place" else name
            self.seen[key] = self.seen.get(key, 0.0) + self.pace * float(value)

    def state(self) -> Any:
        if self.mistake == "forgets its pace":
            return {"seen": dict(self.seen)}
        if self.mistake == "forgets one":
            return {"seen": {name: value for name, value in self.seen.items() if name != "p1"}, "pace": self.pace}
        if self.mistake == "arrays":
            return {"seen": {name: np.float32(value) for name, value in self.seen.items()}, "pace": self.pace}
        if self.mistake == "a list":
            return [self.pace]
        return {"seen": self.seen if self.mistake == "hands out its own" else dict(self.seen), "pace": self.pace}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.mistake == "believes all":
            self.seen, self.pace = dict(state.get("seen", {})), state.get("pace", 1.0)
            return
        self.seen = {name: finite(value) for name, value in state["seen"].items()}
        self.pace = finite(state["pace"]) if self.mistake != "forgets its pace" else 1.0

    def __getstate__(self) -> dict[str, Any]:
        kept = dict(vars(self))
        if self.mistake == "pickles without":
            kept["seen"] = {}
        return kept


def finite(value: Any) -> float:
    """A number that is one."""
    if not isinstance(value, float) or not np.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


STATE = {
    "": "",
    "learns in a call": "the same call gives another reward",
    "raises": "raised KeyError.*end_step",
    "prints": "prints.*end_step",
    "stands still": "end_step never moves its state",
    "by place": "permuting principles changes what it learns",
    "forgets its pace": "the same steps lead to another state|restored",
    "forgets one": "gives another reward",
    "arrays": "no JSON",
    "a list": "not a mapping",
    "hands out its own": "handed out before end_step was changed",
    "believes all": "restore accepts a state whose",
    "pickles without": "pickled, its state is another",
}


@pytest.mark.parametrize("mistake", STATE)
def test_mistakes_of_a_scalarizer_with_state(mistake: str) -> None:
    offered = component("learning", lambda options: Learning(mistake), NoOptions, "learns", monotone=True)
    assert_found(offered, STATE[mistake])


class Unsaved:
    """Learns, and has nothing to save it with."""

    steps = 0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        return scores.values.mean(axis=1) + np.float32(self.steps)

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        self.steps += 1


def test_state_that_cannot_be_saved_is_found() -> None:
    offered: Component[Scalarizer] = component("unsaved", lambda options: Unsaved(), NoOptions, "learns")
    assert_found(offered, "has end_step, but no restore, state: its state is not saved")
