"""The examples of docs/python-api.md run, in the order of the page, on a small run that stands for the demo's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT, blocks

BLOCKS = [block for block in blocks(ROOT / "docs" / "python-api.md") if block.language == "python"]


@pytest.fixture(scope="module")
def place(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with runs/demo, where `demo` is the small run's configuration."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(finished, folder / "runs" / "demo")
    # A file goes before a shipped configuration of the same name.
    shutil.copy(finished / "run.yaml", folder / "demo")
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.file)
def test_example(
    block: object, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    text, file = block.text, block.file  # type: ignore[attr-defined]
    exec(compile(text, file, "exec"), {})
    # What a comment shows as printed is what is printed.
    for shown in re.findall(r"^print\(.*\)  # (\[.*\]|.*\])$", text, re.M):
        assert shown in capsys.readouterr().out
