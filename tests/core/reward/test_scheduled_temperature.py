"""A scalarizer whose temperature moves: its state, gradient and options, where a stranger wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from pydantic import Field, field_validator

from morlaif_core import Component, Floats, Options, Scalarizer, ScoreMatrix, Terms, UserError, build, component
from morlaif_core.config.settings import PrincipleSettings, RewardSettings, Schedule
from morlaif_core.reward.expected_utility import Differentiable, Expected, Stateful
from morlaif_core.reward.scheduled_temperature import schedule_temperature
from morlaif_core.reward.terms.weights_and_thresholds import check_terms
from morlaif_core.testing import make_scores, make_terms

SCORES = make_scores([[1.0, -1.0], [-1.0, 2.0]])
SCHEDULE = Schedule(points=((0, 0.5), (10, 2.0)))


def terms(step: int) -> Terms:
    return replace(make_terms(k=2), step=step)


class Learning:
    """A stranger's: a temperature, a state, and a gradient that it knows."""

    def __init__(self, temperature: float) -> None:
        self.temperature, self.seen = temperature, 0.0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        return (scores.values[:, 0] / self.temperature + self.seen).astype(np.float32)

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Floats:
        return np.array([self.temperature, 1.0], dtype=np.float32)

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        self.seen += float(means.values[0, 0])

    def state(self) -> Mapping[str, object]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, object]) -> None:
        self.seen = float(str(state["seen"]))


def test_a_temperature_follows_its_schedule() -> None:
    scheduled = schedule_temperature(lambda t: build("scalarizer", "soft_max_min", temperature=t), SCHEDULE)
    assert not isinstance(scheduled, Stateful)
    for step, temperature in ((0, 0.5), (5, 1.25), (10, 2.0), (0, 0.5)):
        wanted = build("scalarizer", "soft_max_min", temperature=temperature)(SCORES, terms(step))
        np.testing.assert_array_equal(scheduled(SCORES, terms(step)), wanted)


def test_what_it_has_learnt_outlives_a_temperature() -> None:
    scheduled = schedule_temperature(Learning, SCHEDULE)
    assert isinstance(scheduled, Stateful)
    scheduled(SCORES, terms(0))
    scheduled.end_step(make_scores([[0.25, 0.0]]), terms(0))
    assert scheduled(SCORES, terms(10)).tolist() == [0.75, -0.25]
    scheduled.end_step(make_scores([[1.0, 0.0]]), terms(10))
    assert scheduled.state() == {"seen": 1.25}
    again = schedule_temperature(Learning, SCHEDULE)
    assert isinstance(again, Stateful)
    again.restore(scheduled.state())
    assert again(SCORES, terms(10)).tolist() == scheduled(SCORES, terms(10)).tolist() == [1.75, 0.75]


def test_a_gradient_of_its_own_is_that_of_the_temperature() -> None:
    scheduled = schedule_temperature(Learning, SCHEDULE)
    assert isinstance(scheduled, Differentiable)
    assert Expected(scheduled, {"p0": 0.0, "p1": 0.0}).weights(SCORES, terms(0)) == pytest.approx([1 / 3, 2 / 3])
    assert Expected(scheduled, {"p0": 0.0, "p1": 0.0}).weights(SCORES, terms(10)) == pytest.approx([2 / 3, 1 / 3])
    unknown = schedule_temperature(lambda t: build("scalarizer", "soft_max_min", temperature=t), SCHEDULE)
    soft = np.exp(-np.array([0.5, -0.5]) / 1.25)
    found = Expected(unknown, {"p0": 0.5, "p1": -0.5}).weights(SCORES, terms(5))
    np.testing.assert_allclose(found, soft / soft.sum(), atol=1e-3)


class Narrow(Options):
    """Options whose temperature has an end, and one that is written out."""

    temperature: float = Field(1.0, le=3.0, description="at most 3, and never 2")
    kind: str = Field(description="must be given")

    @field_validator("temperature")
    @classmethod
    def _never_two(cls, temperature: float) -> float:
        if temperature == 2:
            raise ValueError("2 is not possible")
        return temperature


@pytest.mark.parametrize(
    ("points", "complaint"),
    [([[0, 1.0], [5, 4.0]], "less than or equal to 3|at most 3"), ([[0, 1.0], [2, 3.0]], "2 is not possible")],
)
def test_options_are_checked_at_every_temperature(points: list[list[float]], complaint: str) -> None:
    offered: Component[Scalarizer] = component("odd", lambda options: Learning(1.0), Narrow, "narrow")
    reward = RewardSettings.model_validate({"schedules": {"temperature": {"points": points}}})
    with pytest.raises(UserError, match=rf"(?s)reward\.schedules\.temperature.*({complaint})"):
        check_terms({"p0": PrincipleSettings()}, offered, reward, Narrow(kind="a"))
    fine = RewardSettings.model_validate({"schedules": {"temperature": {"points": [[0, 1.0], [2, 1.5]]}}})
    check_terms({"p0": PrincipleSettings()}, offered, fine, Narrow(kind="a"))
