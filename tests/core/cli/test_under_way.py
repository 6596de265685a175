"""What `status` says of a run that is under way: how far, and whether its process lives."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.cli.under_way import under_way
from morlaif_core.runs.folder import RunFolder

MANIFEST: dict[str, Any] = {
    "stages": {"sample": {"state": "done"}, "train-pms": {"state": "started"}},
    "principles": {"kind": {}, "calm": {}},
}
HERE = f"pid {os.getpid()} on {socket.gethostname()}"
ROW = {
    "stage": "train-pms", "unit": "steps", "done": 30, "total": 40, "seconds": 60, "seconds_left": 75, "metrics": {},
    "process": HERE, "at": "2026-12-01 05:00:00+0000",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder in whose second of two models 30 steps of 40 are done."""
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    (tmp_path / "progress.json").write_text(json.dumps(ROW))
    (tmp_path / "preference_models" / "kind").mkdir(parents=True)
    (tmp_path / "preference_models" / "kind" / "done.json").touch()
    return tmp_path


def test_live(run: Path) -> None:
    folder = RunFolder.open(run)
    found = under_way(run, MANIFEST)
    (run / "progress.json").write_text(
        json.dumps(ROW | {"process": "pid 3 on there"})
    )  # has begun, and told nothing yet
    begun = under_way(run, MANIFEST)
    folder.close()
    assert (begun.seconds, begun.process) == (0.0, f"{HERE} is at work")
    assert found.state == "running: 1 of 2 models, 30 of 40 steps (75 %)"
    assert found.process == f"{HERE} is at work, about 0:01:15 left of train-pms"
    assert found.seconds == 60
    assert found.as_json() == {
        "under_way": "train-pms", "progress": ROW, "models": {"done": 1, "total": 2},
        "process": {"pid": os.getpid(), "host": socket.gethostname(), "alive": True},
    }  # fmt: skip


def test_dead_and_let_go(run: Path) -> None:
    (run / ".lock").write_text(HERE)  # which does not hold it
    found = under_way(run, MANIFEST)
    assert found.state == "stopped: 1 of 2 models, 30 of 40 steps (75 %)"
    assert found.process == f"no process is at work: {HERE} was killed; the same command goes on"
    (run / ".lock").write_text("")
    assert under_way(run, MANIFEST).process == "no process is at work; the same command goes on"


def test_another_machine(run: Path) -> None:
    (run / ".lock").write_text("pid 7 on node-17")
    found = under_way(run, MANIFEST)
    assert found.state == "started: 1 of 2 models, 30 of 40 steps (75 %)"
    assert found.process == (
        "pid 7 on node-17 holds the folder, or was killed: from here that cannot be told; it last told of its progress at "
        "2026-12-01 05:00:00+0000"
    )


def test_other_stages_and_runs_of_an_earlier_version(run: Path) -> None:
    assert under_way(run, {"stages": {"sample": {"state": "done"}}}).process is None
    found = under_way(run, {"stages": {"judge": {"state": "started"}}})
    assert (found.state, found.progress) == ("stopped", None)
    (run / "progress.json").write_text(json.dumps(ROW | {"stage": "model"}))
    assert under_way(run, {"stages": {"sample": {"state": "started"}}}).state == "stopped: model 30 of 40 steps (75 %)"
