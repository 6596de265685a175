"""The run folder: lock, manifest, atomic writes, what is replaced, and which folders are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from morlaif_core import UserError
from morlaif_core.errors import Busy
from morlaif_core.runs.folder import (
    RunFolder,
    check_folder,
    read_jsonl,
    read_manifest,
    write_json,
    write_jsonl,
    write_text,
)
from morlaif_core.stages.pairs import write_chunks

HOLD = """
import sys, time
from pathlib import Path
from morlaif_core.runs.folder import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds the run folder tmp_path/run."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_held_folder_is_busy_and_a_lock_dies_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Busy, match=f"in use by another process \\(pid {holder.pid} on .*\\)") as raised:
        RunFolder.open(tmp_path / "run")
    assert raised.value.exit_code == 75
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    RunFolder.open(tmp_path / "run").close()


def test_the_same_process_cannot_hold_it_twice_but_again_after_closing(tmp_path: Path) -> None:
    first = RunFolder.open(tmp_path)
    with pytest.raises(Busy):
        RunFolder.open(tmp_path)
    first.close()
    first.close()
    RunFolder.open(tmp_path).close()


def test_a_process_that_waits_for_nobody_ends_with_75(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-m", "morlaif_core.cli.main", "run", "demo", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 75
    assert "in use by another process" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_opened_folder_is_ours_from_the_first_file_on(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "a" / "run").close()
    (tmp_path / "a" / "run" / "run.yaml").write_text("x")
    check_folder(tmp_path / "a" / "run")
    assert read_manifest(tmp_path / "a" / "run")["format"] == 1


def test_what_a_kill_at_the_very_start_leaves_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("pid 1")
    (tmp_path / ".manifest.json.tmp").write_text('{"form')
    RunFolder.open(tmp_path).close()


def test_folders_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"is not a run folder \(it holds thesis.tex\)"):
        RunFolder.open(tmp_path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["thesis.tex"], "nothing is written into it"
    with pytest.raises(UserError, match="is a file"):
        RunFolder.open(tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="part of its path is a file"):
        RunFolder.open(tmp_path / "thesis.tex" / "run")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": "x"}', '{"name": "a web app"}', "\xff"])
def test_a_manifest_that_is_not_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="not a MORLAIF manifest"):
        RunFolder.open(tmp_path)
    assert (tmp_path / "manifest.json").read_text(encoding="latin-1") == text


def test_a_newer_format(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"format": 2, "stages": {}})
    with pytest.raises(UserError, match=r"newer version \(format 2, this one reads 1\)"):
        RunFolder.open(tmp_path)


def test_a_refused_folder_is_let_go(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path)
    folder.close()
    (tmp_path / "manifest.json").write_text("{")
    for _ in range(2):
        with pytest.raises(UserError, match="not a MORLAIF manifest"):
            RunFolder.open(tmp_path)


def test_replaced_files_move_and_never_overwrite(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "run")
    for content in ("1", "2", "3"):
        write_text(folder.path / "a.txt", content)
        write_text(folder.path / "deep" / "er" / "b.txt", content)
        folder.replace(["a.txt", "deep/er", "never-there"])
        assert not (folder.path / "a.txt").exists()
    kept = sorted((folder.path / "replaced").rglob("a.txt"))
    assert sorted(file.read_text() for file in kept) == ["1", "2", "3"]
    assert len(list((folder.path / "replaced").glob("*/deep/er/b.txt"))) == 3
    before = sorted((folder.path / "replaced").iterdir())
    folder.replace(["a.txt"])
    assert sorted((folder.path / "replaced").iterdir()) == before, "nothing to move makes no folder"


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    write_json(file, {"a": "ä"})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_json(file, {"a": 2})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": "ä"}


def test_a_reader_saves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {"format": 1}, writable=False)
    folder.section("models")["x"] = 1
    folder.save()
    assert not (tmp_path / "manifest.json").exists()


def test_broken_json_lines_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    write_jsonl(file, [{"a": 1}, {"b": "\u2028"}])
    assert list(read_jsonl(file)) == [{"a": 1}, {"b": "\u2028"}]
    file.write_text('{"a": 1}\n{"b": \n')
    with pytest.raises(UserError, match=r"x\.jsonl:2: not a JSON line"):
        list(read_jsonl(file))


CHUNKS = [["a", "b"], [], ["ccc"], ["d" * 50, "e"]]


def chunked(folder: Path, stop: int | None = None) -> tuple[bytes, list[str]]:
    """Write the chunks, with a crash before chunk ``stop``; the file, and which rows were made."""
    made: list[str] = []

    def rows(chunk: list[str]) -> list[dict[str, str]]:
        if stop is not None and chunk is CHUNKS[stop]:
            raise KeyboardInterrupt
        made.extend(chunk)
        return [{"x": text} for text in chunk]

    try:
        write_chunks(folder / "x.jsonl", CHUNKS, rows, lambda done: None)
    except KeyboardInterrupt:
        assert stop is not None
    return (folder / "x.jsonl").read_bytes(), made


@pytest.mark.parametrize("stop", range(len(CHUNKS)))
@pytest.mark.parametrize("junk", [b"", b'{"x": "hal', b'{"x": "whole"}\n'])
def test_chunks_go_on_behind_what_is_whole(tmp_path: Path, stop: int, junk: bytes) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, _ = chunked(tmp_path / "whole")
    _, before = chunked(tmp_path / "cut", stop)
    with (tmp_path / "cut" / "x.jsonl").open("ab") as file:
        file.write(junk)
    cut, after = chunked(tmp_path / "cut")
    assert cut == whole
    assert before + after == [text for chunk in CHUNKS for text in chunk], "no chunk is made twice"
    assert chunked(tmp_path / "cut") == (whole, [])


@pytest.mark.parametrize("lost", ["file", "marks", "half a mark", "half the file"])
def test_chunks_are_made_again_where_file_or_marks_are_damaged(tmp_path: Path, lost: str) -> None:
    whole, _ = chunked(tmp_path)
    file, marks = tmp_path / "x.jsonl", tmp_path / ".x.jsonl.chunks"
    if lost in ("file", "marks"):
        (file if lost == "file" else marks).unlink()
    else:
        damaged = marks if lost == "half a mark" else file
        os.truncate(damaged, damaged.stat().st_size - 2)
    assert chunked(tmp_path)[0] == whole


def test_the_lock_is_taken_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    RunFolder.open(tmp_path).close()
    assert time.monotonic() - start < 10
