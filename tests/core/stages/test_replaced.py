"""What a changed setting replaces: one folder a command, with the records of the run as it was, fit to be put back."""

from __future__ import annotations

import json
import shutil
import time
from itertools import count
from pathlib import Path

import pytest

from morlaif_core import load_run, run as run_pipeline
from morlaif_core.runs.folder import RECORDS
from tests.helpers.small_run import PRINCIPLES, SETS, final_files, small

CHANGED = ("preference_model.epochs=2", "scalarizer.use=max_min")


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, on a clock that shows another second at every look."""
    seconds = count()
    monkeypatch.setattr(time, "strftime", lambda *_: f"20261201-{next(seconds):06}")
    return Path(shutil.copytree(finished, tmp_path / "run"))


def put_back(run: Path, away: Path) -> None:
    """As docs/run-folder.md says."""
    for file in [file for file in away.rglob("*") if file.is_file()]:
        place = run / file.relative_to(away)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    shutil.rmtree(away)


def test_a_command_has_one_folder_with_the_records_of_before(copied: Path) -> None:
    before = {name: (copied / name).read_bytes() for name in RECORDS}
    results = load_run(copied).results
    small(copied, *CHANGED)
    (away,) = (copied / "replaced").iterdir()
    assert {name: (away / name).read_bytes() for name in RECORDS} == before
    models = {f"preference_models/{name}" for name in (*PRINCIPLES, "calibration.json", "reward.json")}
    assert {name for name in (*models, "policy", "evaluation.json") if not (away / name).exists()} == set()
    assert load_run(away).results == results != load_run(copied).results
    assert not (away / "pairs.jsonl").exists(), "what stays is not copied"


def test_what_was_replaced_can_be_put_back(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, results = final_files(copied), load_run(copied).results
    small(copied, *CHANGED)
    small(copied, *CHANGED, "trainer.kl=0.1")
    assert final_files(copied) != files
    for away in sorted((copied / "replaced").iterdir(), reverse=True):
        put_back(copied, away)
    run_pipeline(str(copied / "run.yaml"), out=copied)
    assert "nothing to do" in capsys.readouterr().out
    assert (final_files(copied), load_run(copied).results) == (files, results)


def test_files_of_another_state_are_not_taken_for_the_stages_own(copied: Path) -> None:
    small(copied, *CHANGED)
    manifest = json.loads((copied / "manifest.json").read_text())
    for name in ("train-policy", "evaluate"):
        del manifest["stages"][name]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    small(copied, *CHANGED, "trainer.steps=3", until="train-policy")
    assert load_run(copied).manifest["stages"]["train-policy"]["state"] == "done"
    assert len((copied / "policy" / "metrics.jsonl").read_text().splitlines()) == 3


def test_only_what_was_there_is_said_to_move(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copied / "policy")
    for file in [*copied.glob("evaluation.json*"), *copied.glob(".evaluation.*")]:
        file.unlink()
    run_pipeline("demo", out=copied, sets=(*SETS, "scalarizer.use=max_min"), until="train-policy")
    said = [line for line in capsys.readouterr().out.splitlines() if "replaced/" in line]
    assert [line.partition(": ")[2] for line in said] == ["preference_models/reward.json"]
    (copied / "preference_models" / "reward.json").unlink()
    shutil.rmtree(copied / "policy")
    run_pipeline(
        "demo",
        out=copied,
        sets=(*SETS, "scalarizer.use=leximin", "trainer.responses_per_prompt=2"),
        only="train_policy",
    )
    assert "replaced/" not in capsys.readouterr().out
