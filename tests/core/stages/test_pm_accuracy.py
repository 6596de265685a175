"""Held-out accuracy of preference models: counted, shown with its interval, and named where it may be chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import Message, Preference, load_run, make_prompt, run
from morlaif_core.cli.main import cli, guarded
from morlaif_core.errors import RunFailed
from morlaif_core.stages.pm_accuracy import accuracy, at_chance
from tests.helpers.small_run import SETS, options

SHOWN: dict[str, Any] = {"n": 60, "accuracy": 0.8, "ci95": [0.68, 0.88]}
NOT_SHOWN: dict[str, Any] = {"n": 44, "accuracy": 0.59, "ci95": [0.45, 0.72]}
REVERSED: dict[str, Any] = {"n": 60, "accuracy": 0.2, "ci95": [0.12, 0.32]}
NONE: dict[str, Any] = {"n": 0, "accuracy": None, "ci95": None}


def test_a_score_that_failed_and_a_tie_are_no_pair() -> None:
    labels = (1.0, 0.9, 0.1, 0.5, 0.0, 0.8)
    pairs = [Preference(make_prompt([Message("user", str(row))]), "a", "b", p) for row, p in enumerate(labels)]
    block = accuracy(np.array([1.0, np.nan, -2.0, 3.0, 1.0, 0.0], dtype=np.float32), pairs)
    assert block["n"] == 4
    assert block["accuracy"] == (1 + 1 + 0 + 0.5) / 4
    low, high = block["ci95"]
    assert 0 < low < block["accuracy"] < high < 1
    assert accuracy(np.array([np.nan], dtype=np.float32), pairs[:1])["notes"] == {
        "accuracy": "no held-out pair has scores"
    }
    assert accuracy(np.array([1.0], dtype=np.float32), pairs[3:4])["accuracy"] is None


def test_what_may_be_chance_is_named_with_its_interval() -> None:
    blocks = {"kind": SHOWN, "calm": NOT_SHOWN, "dull": REVERSED, "rare": NONE}
    said = at_chance(blocks)
    assert "calm 0.59 [0.45, 0.72] (n = 44), dull 0.20 [0.12, 0.32] (n = 60), rare - (n = 0)" in said
    assert "kind" not in said
    assert at_chance({"kind": SHOWN}) == at_chance(blocks, ["kind"]) == ""


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def with_accuracies(run: Path, *, policy: bool = True, **blocks: Any) -> None:
    """Put figures into the run; without its policy, if so."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["results"]["preference_models"].update(blocks)
    for name in () if policy else ("train-policy", "evaluate"):
        del manifest["stages"][name]
    (run / "manifest.json").write_text(json.dumps(manifest))


def called(run: Path, *arguments: str) -> int:
    return guarded(lambda: cli(["run", "demo", *options(), "--out", str(run), *arguments], standalone_mode=False))


def test_strict_stops_before_the_policy(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_accuracies(copied, policy=False, helpfulness=SHOWN, conciseness=NOT_SHOWN, detail=SHOWN)
    assert called(copied, "--strict") == 1
    said = capsys.readouterr()
    assert "morlaif: --strict: " in said.err
    assert "conciseness 0.59 [0.45, 0.72] (n = 44)" in said.err
    assert "train-policy …" not in said.out
    assert called(copied, "--strict", "--until", "train-pms") == 1, "what is there already is looked at too"
    assert called(copied, "--strict", "--until", "judge") == 0
    with pytest.raises(RunFailed, match="conciseness"):
        run("demo", out=copied, sets=SETS, strict=True, quiet=True)
    assert called(copied, "--until", "train-pms") == 0


def test_strict_lets_pass_what_is_shown_or_has_no_weight(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_accuracies(copied, helpfulness=SHOWN, conciseness=SHOWN, detail=SHOWN)
    assert called(copied, "--strict") == 0
    assert "warning" not in capsys.readouterr().out
    with_accuracies(copied, policy=False, conciseness=NOT_SHOWN)
    assert called(copied, "--strict", "--set", "principles.conciseness.weight=0", "--until", "train-pms") == 0


def test_the_table_and_the_status_show_the_interval(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_accuracies(copied, helpfulness=SHOWN, conciseness=NOT_SHOWN, detail=SHOWN)
    warned = f"warning: {at_chance(load_run(copied).results['preference_models'])}"
    for command in (
        lambda: called(copied),
        lambda: guarded(lambda: cli(["status", str(copied)], standalone_mode=False)),
    ):
        assert command() == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("principle ") and "PM accuracy, 95 % interval" in line for line in lines)
        assert any(line.startswith("conciseness ") and "0.59 [0.45, 0.72]" in line for line in lines)
        assert lines.count(warned) == 1
    with_accuracies(copied, policy=False)
    results = json.loads((copied / "manifest.json").read_text())
    del results["results"]["policy"]
    (copied / "manifest.json").write_text(json.dumps(results))
    assert guarded(lambda: cli(["status", str(copied)], standalone_mode=False)) == 0
    assert capsys.readouterr().out.splitlines().count(warned) == 1
