"""The manifest's entries of commands: what was run, where and how it ended; keys are no part of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import UserError
from morlaif_core.redaction import redact_command
from morlaif_core.runs.commands import git_commit, recorded
from morlaif_core.runs.folder import RunFolder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def entries(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["commands"]
    return found


def hold(folder: Path, error: BaseException | None = None) -> None:
    held = RunFolder.open(folder)
    try:
        with recorded(held):
            if error is not None:
                raise error
    finally:
        held.close()


def test_each_command_has_an_entry_with_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["morlaif", "run", "my demo", "--set", "judges.x.api_key=sk-12345678"])
    run = tmp_path / "run"
    hold(run)
    for error, code in ((UserError("no"), 2), (KeyboardInterrupt(), 130), (OSError(28, "full"), 1)):
        with pytest.raises(type(error)):
            hold(run, error)
        assert entries(run)[-1]["exit"] == code
    first = entries(run)[0]
    assert len(entries(run)) == 4
    assert first["command"] == "morlaif run 'my demo' --set 'judges.x.api_key=[redacted]'"
    assert (first["exit"], first["host"], first["folder"]) == (0, platform.node(), os.getcwd())
    assert set(first["versions"]) == {"python", "torch", "morlaif"}
    assert first["device"]
    assert datetime.fromisoformat(first["start"]) <= datetime.fromisoformat(first["end"])
    assert datetime.fromisoformat(first["start"]).utcoffset() is not None


def test_an_entry_without_an_end_is_of_a_command_that_was_killed(tmp_path: Path) -> None:
    held = RunFolder.open(tmp_path)
    with recorded(held):
        (entry,) = entries(tmp_path)
    held.close()
    assert (entry["end"], entry["exit"]) == (None, None)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("judges.x.api_key=OPENAI_API_KEY", "judges.x.api_key=OPENAI_API_KEY"),
        ("judges.x.api_key=null", "judges.x.api_key=null"),
        (
            "judges.x={use: openai, api_key: abcdefgh, model: m}",
            "'judges.x={use: openai, api_key: [redacted], model: m}'",
        ),
        ("judges.x.extra={Authorization: Bearer abc.def}", "'judges.x.extra={Authorization: Bearer [redacted]}'"),
        ("judges.x.base_url=https://me:word@host/v1", "'judges.x.base_url=https://[redacted]@host/v1'"),
        ("judges.x.max_tokens_key=max_tokens", "judges.x.max_tokens_key=max_tokens"),
        ("judges.x.thinking_tokens=1024", "judges.x.thinking_tokens=1024"),
        ("sk-proj-0123456789abcdef", "'[redacted]'"),
        ("x=the-very-key", "x=[redacted]"),
    ],
)
def test_keys_are_no_part_of_a_command(given: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "the-very-key")
    assert redact_command([given]) == shown


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({".git/HEAD": f"{COMMIT}\n"}, COMMIT),
        ({".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": f"{COMMIT}\n"}, COMMIT),
        ({".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": f"# x\n{COMMIT} refs/heads/main\n"}, COMMIT),
        (
            {
                ".git": "gitdir: ../main/.git/worktrees/w\n",
                "../main/.git/worktrees/w/HEAD": "ref: refs/heads/w\n",
                "../main/.git/worktrees/w/commondir": "../..\n",
                "../main/.git/refs/heads/w": f"{COMMIT}\n",
            },
            COMMIT,
        ),
        ({".git/HEAD": "ref: refs/heads/main\n"}, None),  # nothing is committed yet
        ({".git/HEAD": "?"}, None),
        ({".git": "gitdir: /nowhere\n"}, None),
    ],
)
def test_the_commit_is_read_without_git(tmp_path: Path, files: dict[str, str], commit: str | None) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    repository(tmp_path / "work", files)
    assert git_commit(tmp_path / "work") == git_commit(tmp_path / "work" / "deep") == commit


def test_a_run_is_recorded(finished: Path) -> None:
    entry = entries(finished)[0]
    assert (entry["exit"], bool(entry["end"])) == (0, True)


def test_a_repository_of_git_itself(tmp_path: Path) -> None:
    try:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git")
    who = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run(["git", "-C", str(tmp_path), *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    said = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert git_commit(tmp_path) == said.stdout.strip()
