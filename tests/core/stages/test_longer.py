"""More steps go on from the last checkpoint where that is exact; else the run says why it begins anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from morlaif_core import run as run_pipeline
from tests.helpers.small_run import SETS, final_files, small

CONSTANT = "trainer.schedule=constant"


def steps(run: Path) -> int:
    return len((run / "policy" / "metrics.jsonl").read_text().splitlines())


def test_more_steps_end_as_if_there_had_been_so_many_from_the_start(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer, whole = (Path(shutil.copytree(finished, tmp_path / name)) for name in ("longer", "whole"))
    small(longer, CONSTANT)
    shutil.rmtree(longer / "replaced")
    first = (longer / "policy" / "metrics.jsonl").read_text()
    capsys.readouterr()
    run_pipeline("demo", out=longer, sets=(*SETS, CONSTANT, "trainer.steps=4"))
    said = capsys.readouterr().out
    assert "train-policy goes on from its last checkpoint" in said
    assert (longer / "policy" / "metrics.jsonl").read_text().startswith(first), "no step is trained twice"
    assert not list(longer.glob("replaced/*/policy"))
    assert list(longer.glob("replaced/*/evaluation.json"))
    small(whole, CONSTANT, "trainer.steps=4")
    assert final_files(longer) == final_files(whole)
    assert steps(longer) == steps(whole) == 4
    small(longer, CONSTANT, "trainer.steps=3")
    assert steps(longer) == 3, "fewer begin anew"


def test_a_linear_schedule_begins_anew_and_says_why(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    run_pipeline("demo", out=run, sets=(*SETS, "trainer.steps=3"), until="train-policy")
    assert "begins anew: with trainer.schedule: linear" in capsys.readouterr().out
    assert list(run.glob("replaced/*/policy"))
    assert steps(run) == 3
    run_pipeline("demo", out=run, sets=(*SETS, "trainer.steps=3", "trainer.kl=0.2"), until="train-policy")
    assert "begins anew" not in capsys.readouterr().out, "nobody asked for more of the same"
