"""Which backend trains which principles: those of equal settings are one group, trained and loaded together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Component, Options, Target
from morlaif_core.types import Need, Principle

if TYPE_CHECKING:
    from .config import Config

KEY = "preference_model"


@dataclass(frozen=True)
class PMGroup:
    """Principles whose preference models are of one backend with equal settings.

    key: where the settings stand, ``preference_model`` or ``principles.NAME.preference_model`` of the first of them.
    block: ``{"use": name, **options}``. base: what they start from, as the configuration names it. members: models of each
    principle.
    """

    key: str
    block: dict[str, Any]
    component: Component[Any]
    options: Options
    base: Target
    members: int = 1
    principles: tuple[Principle, ...] = ()

    @property
    def supplies(self) -> frozenset[Need]:
        """What its scores bring; a deviation over members is a spread."""
        ensemble: frozenset[Need] = frozenset({"spread"}) if self.members > 1 else frozenset()
        return self.component.all_supplies(self.options) | ensemble

    @property
    def own(self) -> bool:
        """Whether the settings are a principle's own, not the run's."""
        return self.key != KEY


def pm_groups(config: Config) -> tuple[PMGroup, ...]:
    """Return the groups in the order of their first principles. Raises `UserError` for an unknown backend or option."""
    run, found = _group(config, None), dict[str, PMGroup]()
    for item in config.principles:
        group = _group(config, item.name)
        # The run's too where no principle has them yet: a principle that says the same belongs to it.
        known = next((other for other in (run, *found.values()) if _same(group, other)), group)
        before = found.get(known.key, known)
        found[known.key] = replace(before, principles=(*before.principles, item))
    return tuple(found.values())


def learns(config: Config, principle: str) -> bool:
    """Whether an active principle's preference model learns from labels; a backend that is gone is taken to."""
    chosen = config.settings.principles[principle].preference_model or config.settings.preference_model
    try:
        return config.plugins.find("pm_backend", chosen.use).learns
    except UserError:  # told where the backend is used: who reads a run may need none
        return True


def _group(config: Config, principle: str | None) -> PMGroup:
    """The settings of a principle, or the run's; no principle is in it yet."""
    settings = config.settings
    own = None if principle is None else settings.principles[principle].preference_model
    key = KEY if own is None else f"principles.{principle}.{KEY}"
    chosen = own or settings.preference_model
    component = config.plugins.find("pm_backend", chosen.use)
    options = config.plugins.options("pm_backend", chosen.block, key if own else "")
    return PMGroup(key, chosen.block, component, options, (own and own.base) or settings.pm_base, chosen.ensemble)


def _same(one: PMGroup, other: PMGroup) -> bool:
    # By what they mean: options may be left out, or spelled in another way.
    same = (one.component, one.options, one.base) == (other.component, other.options, other.base)
    return same and one.members == other.members
