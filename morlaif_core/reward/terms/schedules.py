"""Weights, thresholds and temperature over the training steps: the schedules of `reward.schedules`, checked, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from morlaif_core.config.settings import PrincipleSettings, RewardSettings, Schedule
from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Options
from morlaif_core.plugins.option_errors import explain

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component
    from morlaif_core.plugins.protocols import Scalarizer


def schedules_by_term(reward: RewardSettings, active: Mapping[str, PrincipleSettings]) -> dict[str, Schedule]:
    """Return the schedules, by the principles' names as they are spelled in the run."""
    spelled = {name.replace("-", "_"): name for name in active}
    schedules = {}
    for path, schedule in reward.schedules.items():
        name, _, term = path.rpartition(".")
        schedules[f"{spelled[name.replace('-', '_')]}.{term}" if name else term] = schedule
    return schedules


def with_temperature(options: Options, temperature: float) -> Options:
    """Return a scalarizer's options at another temperature. Raises `ValidationError` where they refuse it."""
    # model_copy would not validate, and a scalarizer may refuse a temperature.
    given = {name: getattr(options, name) for name in options.model_fields_set}
    return type(options).model_validate({**given, "temperature": temperature})


def _check_temperatures(at: str, schedule: Schedule, options: Options) -> None:
    # At every step, since between two points a schedule has values that none of them names.
    for temperature in dict.fromkeys(schedule.at(step) for step in range(schedule.points[-1][0] + 1)):
        try:
            with_temperature(options, temperature)
        except ValidationError as error:
            raise UserError(f"{at}: {temperature:.6g} is refused: {explain(error, type(options), at)}") from None


def check_schedules(
    principles: Mapping[str, PrincipleSettings],
    scalarizer: Component[Scalarizer],
    reward: RewardSettings,
    options: Options | None = None,
) -> None:
    """Raise `UserError` where a schedule moves what is not there, or to where it may not be.

    options: the scalarizer's, to be tried at every temperature of a schedule; None: they are not.
    """
    rewarded = {name.replace("-", "_") for name, settings in principles.items() if settings.weight > 0}
    for path, schedule in reward.schedules.items():
        at, values = f"reward.schedules.{path}", [value for _, value in schedule.points]
        name, _, term = path.rpartition(".")
        if path == "temperature":
            if "temperature" not in scalarizer.options.model_fields:
                raise UserError(f"{at}: scalarizer {scalarizer.name} has no temperature")
            if min(values) <= 0:
                raise UserError(f"{at}: a temperature is above 0")
            if options is not None:
                _check_temperatures(at, schedule, options)
        elif term not in ("weight", "threshold") or name.replace("-", "_") not in rewarded:
            raise UserError(
                f"{at}: say PRINCIPLE.weight or PRINCIPLE.threshold of a principle with a weight above 0, or temperature"
            )
        elif term == "weight" and min(values) <= 0:
            raise UserError(f"{at}: a scheduled weight stays above 0, as its column stays in training")
        elif term == "threshold" and not max(map(abs, values)) < reward.clip:
            raise UserError(f"{at}: thresholds lie within the clip range, {-reward.clip} to {reward.clip}")
