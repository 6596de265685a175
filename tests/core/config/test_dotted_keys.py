"""Mappings in place of files: their keys may have dots, as those of --set."""

from __future__ import annotations

import pytest

from morlaif_core import UserError
from morlaif_core.config.load import load_config


def test_keys_of_mappings_may_have_dots() -> None:
    layered = {"scalarizer.temperature": 0.5, "scalarizer.use": "soft_max_min", "trainer": {"steps": 3}}
    loaded = load_config(
        ["demo", layered], overrides={"principles.politeness.weight": 3.0, "principles.helpfulness": {}}
    )
    assert loaded.block("scalarizer") == {"use": "soft_max_min", "temperature": 0.5}
    assert loaded.block("trainer")["steps"] == 3
    assert loaded.settings.principles["politeness"].weight == 3.0
    assert "relevance" in loaded.settings.principles, "a key below principles does not replace them"
    assert loaded.layers.origin(("trainer", "steps")) == "CONFIG"
    assert loaded.layers.origin(("principles", "politeness", "weight")) == "overrides"
    assert loaded.name == "demo"
    assert load_config([{"principles": ["politeness"]}]).name == "run"
    for key in ("scalarizer.", ".use", "a..b"):
        with pytest.raises(UserError, match=r"CONFIG: '.*' is no key"):
            load_config(["demo", {key: 1}])
