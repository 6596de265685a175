"""What a user should know about terms before anything is trained: what changes nothing, who shares a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from morlaif_core.config.settings import PrincipleSettings, RewardSettings

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component
    from morlaif_core.plugins.protocols import Scalarizer


def term_notes(
    principles: Mapping[str, PrincipleSettings], scalarizer: Component[Scalarizer], reward: RewardSettings
) -> tuple[str, ...]:
    """Return a line for each kind of term, and each schedule, that the scalarizer ignores, and for each unasked tier."""
    active = {name: settings for name, settings in principles.items() if settings.weight > 0}
    places = priorities(principles)
    set_by_user = {
        # Equal weights, of whatever size, are the default.
        "weight": [name for name, settings in active.items() if settings.weight != 1] if _differ(active) else [],
        "threshold": [name for name, settings in active.items() if settings.threshold != 0],
        "priority": [name for name, settings in active.items() if settings.priority is not None],
    }
    in_tier = set[str]()
    if "priority" in scalarizer.uses:  # weights count within a tier
        taken = [places[name] for name in active]
        in_tier = {name for name in active if taken.count(places[name]) > 1}
        set_by_user["weight"] = [name for name in set_by_user["weight"] if name not in in_tier]
    notes = [
        f"scalarizer {scalarizer.name} does not use {term}: the {term} of {', '.join(names)} changes nothing"
        for term, names in set_by_user.items()
        if names and term not in scalarizer.uses
    ]
    spelled_in_tier = {name.replace("-", "_") for name in in_tier}
    for path in reward.schedules:
        name, _, term = path.rpartition(".")
        counts = term in scalarizer.uses or (term == "weight" and name.replace("-", "_") in spelled_in_tier)
        if name and not counts:
            notes.append(f"scalarizer {scalarizer.name} does not use {term}: the schedule {path} changes nothing")
    if "priority" in scalarizer.uses:
        notes += _unasked_tiers(active, places)
    return tuple(notes)


def priorities(principles: Mapping[str, PrincipleSettings]) -> dict[str, int]:
    """Return each principle's priority: as it is set, else its place, from 1."""
    places = enumerate(principles.items(), start=1)
    return {name: place if settings.priority is None else settings.priority for place, (name, settings) in places}


def _unasked_tiers(active: Mapping[str, PrincipleSettings], places: Mapping[str, int]) -> Iterator[str]:
    for name in (name for name, settings in active.items() if settings.priority is None):
        others = [other for other in active if other != name and places[other] == places[name]]
        if others:
            yield (
                f"principles.{name} has no priority, so its place counts, {places[name]}, which is the priority of "
                f"{', '.join(others)} too: they are one tier, their mean. Give {name} a priority: {places[name]} where "
                "that is meant, else another number"
            )


def _differ(active: Mapping[str, PrincipleSettings]) -> bool:
    return len({settings.weight for settings in active.values()}) > 1
