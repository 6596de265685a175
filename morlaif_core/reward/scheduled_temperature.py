"""A scalarizer whose temperature follows a schedule: `schedule_temperature`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from morlaif_core.config.settings import Schedule
from morlaif_core.plugins.protocols import Scalarizer
from morlaif_core.types import Floats, ScoreMatrix, Terms

from .expected_utility import Differentiable, Stateful
from .explanation import gradient


def schedule_temperature(build: Callable[[float], Scalarizer], schedule: Schedule) -> ScheduledTemperature:
    """Return a scalarizer that is built anew with the temperature of each step; `Stateful` where what is built is.

    Args:
        build: makes the scalarizer of a temperature.
        schedule: the temperature over the steps, `Terms.step`.
    """
    scheduled = ScheduledTemperature(build, schedule)
    # A class of its own: `Stateful` is told by its methods, which a scalarizer without state must not have.
    return StatefulScheduledTemperature(build, schedule) if isinstance(scheduled.at(0), Stateful) else scheduled


class ScheduledTemperature:
    """A scalarizer without state, built anew with the temperature of each step. Made by `schedule_temperature`."""

    def __init__(self, build: Callable[[float], Scalarizer], schedule: Schedule) -> None:
        self.schedule, self._build = schedule, build
        self._temperature = schedule.at(0)
        self._scalarizer = build(self._temperature)

    def at(self, step: int) -> Scalarizer:
        """Return the scalarizer of a step, which goes on from the state of the one before."""
        temperature = self.schedule.at(step)
        if temperature != self._temperature:
            built = self._build(temperature)
            if isinstance(built, Stateful) and isinstance(self._scalarizer, Stateful):
                built.restore(self._scalarizer.state())
            self._temperature, self._scalarizer = temperature, built
        return self._scalarizer

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32 at the step of the terms."""
        return self.at(terms.step)(scores, terms)

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Floats:
        """Return du / dr (k,) at one row of mean scores (1, k): the scalarizer's own, or central differences."""
        now = self.at(terms.step)
        return now.gradient(mean, terms) if isinstance(now, Differentiable) else gradient(now, mean, terms)[0]


class StatefulScheduledTemperature(ScheduledTemperature):
    """A `ScheduledTemperature` scalarizer with state, which travels from temperature to temperature."""

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        """Let the step's scalarizer learn from the mean scores (1, k)."""
        cast("Stateful", self.at(terms.step)).end_step(means, terms)

    def state(self) -> Mapping[str, object]:
        """Return the scalarizer's state, as JSON."""
        return cast("Stateful", self._scalarizer).state()

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what `state` returned."""
        cast("Stateful", self._scalarizer).restore(state)
