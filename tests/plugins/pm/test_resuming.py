"""The preference-model backends go on where they were interrupted or killed, digit for digit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from morlaif_pm import build_full, build_lora, build_probe
from morlaif_pm.folders import newest
from morlaif_pm.options import FullOptions, LoraOptions, ProbeOptions
from tests.helpers.preference_jobs import BACKENDS, QUICK, KilledError, job_in, many_checkpoints, weights


@pytest.mark.parametrize("name", ["full", "lora"])
def test_goes_on_from_a_checkpoint_bit_for_bit(name: str, tmp_path: Path) -> None:
    build, options = {"full": (build_full, FullOptions), "lora": (build_lora, LoraOptions)}[name]
    extra = {"dropout": 0.1} if name == "lora" else {}
    backend = build(options(learning_rate=2e-3, checkpoint_every=4, **extra, **QUICK))  # type: ignore[operator]
    whole = job_in(tmp_path, names=("kind", "rude"), n=40)
    backend.train(whole)

    steps: list[int] = []

    def report(step: int, total: int, metrics: Mapping[str, float], *, generate: Any = None) -> Literal["go"]:
        steps.append(step)
        if len(steps) == 7:
            raise KilledError
        return "go"

    cut = replace(whole, out=tmp_path / "cut", report=report)
    with pytest.raises(KilledError):
        backend.train(cut)
    assert [path.name for path in (cut.out / "kind").iterdir()] == ["checkpoint-4"]
    torn = cut.out / "kind" / "checkpoint-6"  # what a kill leaves while a checkpoint is written
    torn.mkdir()
    (torn / "trainer_state.json").write_text("{")
    backend.train(cut)
    assert steps[7] == 5  # not from the start
    for principle in ("kind", "rude"):
        assert weights(cut.out / principle) == weights(whole.out / principle)
    assert not list(cut.out.rglob("checkpoint-*"))

    before = {path: path.stat().st_mtime_ns for path in cut.out.rglob("*")}
    (cut.out / "kind" / "checkpoint-8").mkdir()  # what a kill leaves after done.json
    backend.train(cut)
    assert {path: path.stat().st_mtime_ns for path in cut.out.rglob("*") if path.is_file()}.items() <= before.items()
    assert not list(cut.out.rglob("checkpoint-*"))


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_stop_keeps_the_step_and_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    build, options = {"full": (build_full, FullOptions), "lora": (build_lora, LoraOptions)}[name]
    backend = build(options(learning_rate=2e-3, **QUICK))  # type: ignore[operator]
    steps: list[int] = []

    def report(step: int, total: int, metrics: Mapping[str, float], *, generate: Any = None) -> Literal["go"]:
        steps.append(step)
        return "go"

    whole = job_in(tmp_path, names=("kind", "rude"), n=40, report=report)
    backend.train(whole)
    total, steps[:] = len(steps), []
    cut = replace(whole, out=tmp_path / "cut", stop=lambda: len(steps) == total // 2 + 2)
    with pytest.raises(KeyboardInterrupt):
        backend.train(cut)
    assert (cut.out / "kind" / "done.json").exists()
    assert [path.name for path in (cut.out / "rude").iterdir()] == ["checkpoint-2"]
    backend.train(replace(cut, stop=lambda: False))
    assert steps == list(range(1, total + 1)), "no step is done twice"
    for principle in ("kind", "rude"):
        assert weights(cut.out / principle) == weights(whole.out / principle)


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "whole.json").write_text(json.dumps({"key": "old"}))
    assert newest(tmp_path, "old") == checkpoint
    assert newest(tmp_path, "new") is None
    assert not checkpoint.exists()


def test_probe_goes_on_from_its_features_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import morlaif_pm.features as module

    backend = build_probe(ProbeOptions())
    whole = job_in(tmp_path, names=("kind", "rude"), n=40)
    backend.train(whole)
    calls: list[int] = []
    run = module._run

    def counted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 9:
            raise KilledError
        return run(*args)

    monkeypatch.setattr(module, "_run", counted)
    cut = replace(whole, out=tmp_path / "cut")
    with pytest.raises(KilledError):
        backend.train(cut)
    backend.train(cut)
    made_again = len(calls) - 9
    calls[:] = [1] * 10
    backend.train(replace(whole, out=tmp_path / "third"))
    assert made_again == len(calls) - 10 - 8, "what the killed run had is read, not made again"
    for principle in ("kind", "rude"):
        assert weights(cut.out / principle) == weights(whole.out / principle)


def test_a_kill_between_two_heads_changes_no_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Principles whose texts partly coincide: each text is run once, and what goes on trains the second head alone."""
    import morlaif_pm.features as module

    calls: list[int] = []
    run = module._run

    def counted(backbone: Any, rows: Sequence[Any], layer: int) -> Any:
        calls.append(len(rows))
        return run(backbone, rows, layer)

    monkeypatch.setattr(module, "_run", counted)
    backend = build_probe(ProbeOptions())
    job = job_in(tmp_path, names=("kind", "rude"), n=40)
    job = replace(job, train={"kind": job.train["kind"], "rude": [*job.train["kind"][:20], *job.train["rude"]]})
    texts = {(pair.prompt.id, text) for pairs in job.train.values() for pair in pairs for text in (pair.a, pair.b)}
    backend.train(job)
    assert sum(calls) == len(texts)
    second = replace(job, principles=job.principles[1:], out=tmp_path / "second")
    backend.train(second)
    assert weights(second.out / "rude") == weights(job.out / "rude")


KILLED = """
import sys
from pathlib import Path
from tests.helpers.preference_jobs import killed_run
killed_run(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow(seconds=10)
@pytest.mark.parametrize("name", BACKENDS)
def test_kill_9_then_again_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    job = job_in(tmp_path, n=80)
    many_checkpoints(name).train(replace(job, out=tmp_path / "whole"))
    command = [sys.executable, "-c", KILLED, str(tmp_path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        read = [child.stdout.readline() for _ in range(5)]
        time.sleep(0.02)  # a checkpoint follows every step: it may be half written
        child.send_signal(signal.SIGKILL)
    assert all(read)
    assert not (job.out / "kind" / "done.json").exists()
    many_checkpoints(name).train(job)
    assert weights(job.out / "kind") == weights(tmp_path / "whole" / "kind")
