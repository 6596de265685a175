"""Several processes: who works, how the others learn of its end, and what they do not take for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from morlaif_core.errors import RunFailed, UserError
from morlaif_core.plugins.components import Secret
from morlaif_core.runs.folder import RunFolder, read_manifest
from morlaif_core.runs.processes import SECTION, STALE, Ranks, first_of, ranks, wait_for_first
from morlaif_core.runs.progress import Screen

QUIET = Screen(quiet=True)


def end(run: Path, error: Exception | None = None) -> None:
    """Do what rank 0 of two does, and end."""
    folder = RunFolder.open(run)
    try:
        with first_of(Ranks(0, 2), folder, QUIET):
            if error is not None:
                raise error
    except RunFailed:
        pass
    finally:
        folder.close()


class Watch:
    """A clock that sleeping moves; at each sleep the next event happens."""

    def __init__(self, *events: Callable[[], None]) -> None:
        self.now, self.events = 0.0, list(events)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.events:
            self.events.pop(0)()
        elif self.now > 2 * STALE:
            raise TimeoutError

    def wait(self, run: Path, finished: Callable[[], bool] = lambda: False) -> None:
        wait_for_first(run, finished, sleep=self.sleep, clock=lambda: self.now)


def nothing() -> None:
    pass


def test_the_environment_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks() == Ranks(0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks() == Ranks(2, 4)
    assert not ranks().first
    for rank in ("4", "-1", "two"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(UserError, match="RANK"):
            ranks()


def test_the_others_wait_from_before_the_folder_is_there_until_the_first_is_done(tmp_path: Path) -> None:
    run = tmp_path / "r"
    watch = Watch(nothing, lambda: RunFolder.open(run).close(), nothing, lambda: end(run))
    watch.wait(run)
    assert watch.events == []


def test_a_failure_reaches_the_others_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-key-41")
    Secret("SOME_KEY").reveal()
    with pytest.raises(RunFailed, match="rank 0 failed: server down") as failed:
        Watch(lambda: end(tmp_path / "r", RunFailed("server down: canary-key-41"))).wait(tmp_path / "r")
    assert "canary" not in str(failed.value)
    assert "canary" not in (tmp_path / "r" / "manifest.json").read_text()


@pytest.mark.parametrize("error", [None, RunFailed("an earlier launch's")])
def test_an_earlier_launchs_end_is_not_taken_for_this_ones(tmp_path: Path, error: Exception | None) -> None:
    run = tmp_path / "r"
    end(run, error)
    watch = Watch(nothing, nothing, lambda: end(run))
    watch.wait(run)
    assert watch.events == []
    end(run, error)
    with pytest.raises(RunFailed, match="this one's"):
        Watch(nothing, nothing, lambda: end(run, RunFailed("this one's"))).wait(run)


def test_an_end_before_the_first_look_counts_where_all_is_done_or_nobody_begins_anew(tmp_path: Path) -> None:
    run = tmp_path / "r"
    end(run)
    watch = Watch()
    watch.wait(run, lambda: True)
    assert watch.now == 0
    watch.wait(run, lambda: False)
    assert watch.now == STALE
    end(run, RunFailed("before the first look"))
    with pytest.raises(RunFailed, match="before the first look"):
        Watch().wait(run, lambda: True)


def test_a_first_process_that_works_long_is_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "r")
    with first_of(Ranks(0, 2), folder, QUIET), pytest.raises(TimeoutError):
        Watch().wait(tmp_path / "r", lambda: True)
    folder.close()


def test_libraries_of_the_first_see_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "TORCHELASTIC_RUN_ID")
    for name in names:
        monkeypatch.setenv(name, "0")
    folder = RunFolder.open(tmp_path / "r")
    with first_of(Ranks(0, 2), folder, QUIET):
        assert not os.environ.keys() & set(names)
    assert all(os.environ[name] == "0" for name in names)
    folder.close()


def test_one_process_leaves_no_record_and_takes_an_old_one_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end(tmp_path / "r")
    folder = RunFolder.open(tmp_path / "r")
    with first_of(Ranks(), folder, Screen()):
        folder.save()
    assert SECTION not in read_manifest(tmp_path / "r")
    assert capsys.readouterr().out == ""
    with first_of(Ranks(0, 3), folder, Screen()):
        pass
    assert "the first of 3 processes runs every stage" in capsys.readouterr().out
    folder.close()


def test_an_interruption_of_the_first_reaches_the_others(tmp_path: Path) -> None:
    run = tmp_path / "r"

    def interrupted() -> None:
        folder = RunFolder.open(run)
        try:
            with first_of(Ranks(0, 2), folder, QUIET):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            folder.close()

    with pytest.raises(KeyboardInterrupt):
        Watch(nothing, interrupted).wait(run)


def test_an_interrupted_process_waits_for_the_first_to_finish_its_step(tmp_path: Path) -> None:
    run = tmp_path / "r"
    folder = RunFolder.open(run)

    def strike() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    watch = Watch(strike, nothing, nothing, folder.close)
    with pytest.raises(KeyboardInterrupt):
        watch.wait(run)
    assert watch.events == []
