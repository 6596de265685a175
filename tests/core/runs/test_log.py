"""What a run folder keeps of what was told: log.txt and progress.json, quiet or not."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from morlaif_core.errors import RunFailed
from morlaif_core.plugins.components import Secret
from morlaif_core.runs import progress
from morlaif_core.runs.log import LOG, LONGEST, Log, read_progress
from morlaif_core.runs.progress import Screen


def lines(run: Path) -> list[str]:
    """The log's entries without their dates."""
    text = (run / LOG).read_text()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} |    ", line) for line in text.splitlines())
    return [line[25:] for line in text.splitlines()]


@pytest.mark.parametrize("quiet", [True, False])
def test_all_that_is_told_is_kept_and_appended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.0)
    screen = Screen(quiet)
    for _ in range(2):
        with screen.logged(tmp_path):
            screen.say("sample …")
            with screen.bar("sample", "prompts") as bar:
                bar(32, 64)
                bar(64, 64)
            logging.getLogger("morlaif_core.feedback").warning("judge '%s' stops", "far")
    screen.say("run folder")
    found = lines(tmp_path)
    assert sum(line.startswith("begun: pid ") for line in found) == 2
    assert [line.split(", 0:")[0] for line in found if not line.startswith("begun")] == [
        "sample …",
        "sample: 32 of 64 prompts (50 %)",
        "sample: 64 of 64 prompts (100 %)",
        "judge 'far' stops",
        "ended",
    ] * 2
    out, err = capsys.readouterr()
    assert out == ("" if quiet else "sample …\nsample …\nrun folder\n")
    assert err.count("sample: 32 of 64 prompts (50 %)") == (0 if quiet else 2)


def test_how_it_ends_is_kept_redacted_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-key-42")
    Secret("SOME_KEY").reveal()
    screen = Screen(quiet=True)
    for error in (RunFailed("server down: canary-key-42\nsecond line"), KeyboardInterrupt(), ValueError("x" * 99999)):
        with pytest.raises(type(error)), screen.logged(tmp_path):
            raise error
    text = (tmp_path / LOG).read_text()
    assert "canary" not in text
    assert "failed: server down: " in text
    assert "\n    second line\n" in text
    assert " interrupted\n" in text
    assert "failed: ValueError: xxx" in text
    assert len(text) < 2 * LONGEST


@pytest.mark.parametrize("pace", [0.0, 600.0])
def test_progress_is_kept_now_and_then_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: float
) -> None:
    monkeypatch.setattr(progress, "KEPT", pace)
    screen = Screen(quiet=True)

    def work() -> None:
        with screen.logged(tmp_path), screen.bar("judge", "requests") as bar:
            for answered in (3, 4):
                bar(answered, 9, {"loss": np.float32(0.5), "kl": float("nan"), "note": None})  # type: ignore[dict-item]
                now = read_progress(tmp_path)
                assert (now and now["done"]) == (None if pace else answered)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    found = read_progress(tmp_path)
    assert found is not None
    assert (found["stage"], found["unit"], found["done"], found["total"]) == ("judge", "requests", 4, 9)
    assert found["metrics"] == {"loss": 0.5, "kl": None}


def test_a_folder_that_takes_no_more_does_not_end_the_run(tmp_path: Path) -> None:
    log = Log(tmp_path / "gone")
    log.write("x")
    log.keep({})
    assert read_progress(tmp_path / "gone") is None
