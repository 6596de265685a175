"""What tests of configurations share: plugins with two of a stranger's, and a loader over the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import NoOptions, component
from morlaif_core.config.config import Config
from morlaif_core.config.load import load_config
from morlaif_core.plugins.manager import Offer, Plugins


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    """The installed plugins with two of a stranger's: a scalarizer that needs groups, a data set without labels."""
    loaded = Plugins.load()
    grouped = component(
        "grouped", lambda _: lambda scores, terms: np.zeros(0), NoOptions, "x", needs=frozenset({"groups"})
    )
    bare = component("bare", lambda _: None, NoOptions, "prompts alone")
    for kind, offered in (("scalarizer", grouped), ("dataset", bare)):
        loaded.offers_by_kind[kind].append(Offer("strange", "strange", "1", kind, offered))
    return loaded


@pytest.fixture
def load(tmp_path: Path, plugins: Plugins) -> Any:
    """Load a configuration text (over the demo's) in an empty working directory."""

    def loaded(text: str = "", *sets: str, base: tuple[str, ...] = ("demo",), **overrides: Any) -> Config:
        (tmp_path / "mine.yaml").write_text(text)
        return load_config([*base, "mine.yaml"], sets, overrides, plugins, tmp_path)

    return loaded
