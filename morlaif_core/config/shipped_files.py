"""Shipped files: registry.yaml, principles/, examples/; from the checkout first, else from the wheel."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

SHIPPED = "shipped "
"""How the labels of shipped files begin."""


def bundle(name: str) -> Traversable:
    """Return a shipped file or folder."""
    # An editable install has no morlaif_bundle, which only the wheel brings.
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "registry.yaml").is_file() and (checkout / "pyproject.toml").is_file():
        return checkout / name
    return resources.files("morlaif_bundle") / name


def shipped_examples() -> dict[str, Traversable]:
    """Run configurations by name."""
    files = [item for item in bundle("examples").iterdir() if item.name.endswith(".yaml")]
    return {item.name.removesuffix(".yaml"): item for item in sorted(files, key=lambda item: item.name)}
