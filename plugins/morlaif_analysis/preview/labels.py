"""How principles and choices are called in a preview's tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_WEIGHT = "weight 0: not in the reward"
"""What the mark of `principle_label` means."""


def principle_label(result: Mapping[str, Any], name: str) -> str:
    """The name, marked where the principle is not in the reward."""
    return f"{name} (weight 0)" if name in result["unrewarded"] else name


def rewarded(result: Mapping[str, Any]) -> list[str]:
    """The principles that are in the reward."""
    return [name for name in result["principles"] if name not in result["unrewarded"]]
