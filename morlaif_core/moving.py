"""Which terms move over the training steps: the schedules of `reward.schedules`, checked and by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import UserError
from .schedules import Schedule
from .settings import PrincipleSettings, RewardSettings

if TYPE_CHECKING:
    from .options import Component
    from .protocols import Scalarizer


def moves_of(reward: RewardSettings, active: Mapping[str, PrincipleSettings]) -> dict[str, Schedule]:
    """Return the schedules of weights and thresholds, by the principles' names as they are spelled in the run."""
    spelled = {name.replace("-", "_"): name for name in active}
    moves = {}
    for path, schedule in reward.schedules.items():
        name, _, term = path.rpartition(".")
        if name:
            moves[f"{spelled[name.replace('-', '_')]}.{term}"] = schedule
    return moves


def check_schedules(
    principles: Mapping[str, PrincipleSettings], scalarizer: Component[Scalarizer], reward: RewardSettings
) -> None:
    """Raise `UserError` where a schedule moves what is not there, or to where it may not be."""
    rewarded = {name.replace("-", "_") for name, settings in principles.items() if settings.weight > 0}
    for path, schedule in reward.schedules.items():
        at, values = f"reward.schedules.{path}", [value for _, value in schedule.points]
        name, _, term = path.rpartition(".")
        if path == "temperature":
            if "temperature" not in scalarizer.options.model_fields:
                raise UserError(f"{at}: scalarizer {scalarizer.name} has no temperature")
            if min(values) <= 0:
                raise UserError(f"{at}: a temperature is above 0")
        elif term not in ("weight", "threshold") or name.replace("-", "_") not in rewarded:
            raise UserError(
                f"{at}: say PRINCIPLE.weight or PRINCIPLE.threshold of a principle with a weight above 0, or temperature"
            )
        elif term == "weight" and min(values) <= 0:
            raise UserError(f"{at}: a scheduled weight stays above 0, or its column would come and go")
        elif term == "threshold" and not max(map(abs, values)) < reward.clip:
            raise UserError(f"{at}: thresholds lie within the clip range, {-reward.clip} to {reward.clip}")
