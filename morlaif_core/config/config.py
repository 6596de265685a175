"""A validated configuration, with the principles, plugins and layers that it refers to: `Config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from morlaif_core.plugins.manager import Plugins
from morlaif_core.types import Principle

from .judge_settings import Use
from .layers import Layers
from .settings import Settings

BLOCKS = {
    "dataset": "dataset",
    "sampler": "sampler",
    "preference_model": "pm_backend",
    "scalarizer": "scalarizer",
    "trainer": "policy_trainer",
}
"""Blocks with ``use``, and the kind of component that each names."""


@dataclass(frozen=True)
class Config:
    """A validated configuration with what it refers to."""

    name: str
    settings: Settings
    principles: tuple[Principle, ...]
    """the active ones, in their order"""
    plugins: Plugins
    layers: Layers = field(repr=False)

    def block(self, key: str) -> dict[str, Any]:
        """A component's block: see `Use.block`."""
        chosen: Use = getattr(self.settings, key)
        return chosen.block

    def judge_block(self, judge: str) -> dict[str, Any]:
        """The provider's block of a judge that is no panel or cascade."""
        return self.settings.single(judge).block
