"""kill -9 at any point, then the same command: the files of a run that nobody disturbed, and no child left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.commands import logged
from tests.helpers.shared_folders import SharedFolders
from tests.helpers.small_run import final_files, ledger_rows, options

BASE = "target.model={use: demo-base, steps: 60, width: 32, layers: 2}"


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the pipeline as the head of a process group, with a cache of its own: the base model is made too."""
    own = {"XDG_CACHE_HOME": str(folder / "cache")}
    arguments = ["run", "demo", "--out", "r", *options(BASE)]
    return logged(folder / "log", *arguments, environment=own, cwd=folder, start_new_session=True)


def group_is_empty(group: int) -> bool:
    """Say whether no process of the group lives, for up to five seconds of waiting."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def progress(folder: Path) -> str:
    """What is there so far: where a kill struck."""
    run = folder / "r"
    seen = [name for name in ("pairs.jsonl", "preferences.jsonl", "evaluation.json") if (run / name).exists()]
    seen += [file.parent.name for file in sorted(run.glob("preference_models/*/done.json"))]
    seen += [file.name for file in sorted(run.glob("policy/checkpoint-*"))]
    made = [file.name[:20] for file in (folder / "cache").glob("morlaif/models/*")]
    return f"{made} {seen}"


@pytest.fixture(scope="module")
def undisturbed(shared: SharedFolders) -> tuple[Path, float]:
    """A run nobody killed, and its seconds."""

    def run(folder: Path) -> None:
        begun = time.monotonic()
        process = start(folder)
        assert process.wait(timeout=200) == 0, (folder / "log").read_text()
        assert group_is_empty(process.pid)
        (folder / "seconds").write_text(str(time.monotonic() - begun))

    folder = shared.made("undisturbed", run)
    return folder, float((folder / "seconds").read_text())


@pytest.mark.slow(seconds=35)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again(undisturbed: tuple[Path, float], tmp_path: Path, seed: int) -> None:
    reference, seconds = undisturbed
    draw = random.Random(seed)
    struck, code = [], None
    while code is None:
        process = start(tmp_path)
        # The first kills fall anywhere in the pipeline, later ones behind the imports; after eight it may finish.
        wait = draw.uniform(0.2, 0.9) * seconds if len(struck) < 8 else 200
        try:
            code = process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            struck.append(progress(tmp_path))
            assert group_is_empty(process.pid), "a child outlived its parent"
    log = (tmp_path / "log").read_text()
    assert code == 0, log
    assert "Traceback" not in log
    assert struck, "no kill struck"
    assert final_files(tmp_path / "r") == final_files(reference / "r"), "\n".join(struck)
    assert ledger_rows(tmp_path / "r") == ledger_rows(reference / "r")


@pytest.mark.slow(seconds=25)
@pytest.mark.timeout(300)
def test_killed_while_the_base_model_is_made(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    models = tmp_path / "cache" / "morlaif" / "models"
    seen: set[int] = set()
    for wait in (0.0, 0.4):
        process = start(tmp_path)
        while process.poll() is None and not {part.stat().st_mtime_ns for part in models.glob("*.part")} - seen:
            time.sleep(0.01)
        time.sleep(wait)
        seen |= {part.stat().st_mtime_ns for part in models.glob("*.part")}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert group_is_empty(process.pid)
        assert list(models.glob("*.part")), "killed before it was whole"
    last = start(tmp_path)
    assert last.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    assert not list(models.glob("*.part"))
    assert final_files(tmp_path / "r") == final_files(undisturbed[0] / "r")
