"""kill -9 while judging: nothing lost, little bought twice, the same labels; and a changed principle costs its own calls."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from morlaif_core import load_run
from morlaif_core.testing import FaultServer, fault_server
from tests.helpers.commands import logged
from tests.helpers.remote_judging import FAR_KEY, far_judge
from tests.helpers.small_run import PRINCIPLES, options, small_in

CONCURRENCY, KILLS, PROMPTS = 16, 20, 250
MANY = ("dataset.prompts=450", f"prompts={{pm: {PROMPTS}, validation: 0.25, calibration: 10, rl: 16, evaluation: 8}}")
QUESTIONS = ("Which response is kinder?", "Which response is shorter?", "Which response says more?")


def settings(url: str) -> tuple[str, ...]:
    """All principles are asked of the server."""
    return ("judge=far", far_judge(url), f"judging.concurrency={CONCURRENCY}")


def ask(folder: Path, questions: tuple[str, ...] = QUESTIONS) -> None:
    """Write the three principles of a working directory."""
    (folder / "principles").mkdir(exist_ok=True)
    for name, question in zip(PRINCIPLES, questions, strict=True):
        (folder / "principles" / f"{name}.yaml").write_text(f"question: {question}\n")


def start(run: Path, url: str) -> subprocess.Popen[bytes]:
    """Start the command as a user would."""
    arguments = ["run", "demo", "--out", str(run), "--until", "judge", *options(*MANY, *settings(url))]
    return logged(run.parent / "log", *arguments, environment=FAR_KEY, cwd=run.parent)


def finish(run: Path, url: str, *sets: str, until: str = "judge") -> None:
    """Do the same in this process."""
    small_in(run.parent, run, *sets, *settings(url), until=until, **FAR_KEY)


def kill_when_judging(process: subprocess.Popen[bytes], server: FaultServer, wait: float) -> bool:
    """Kill a process some time after its first request; return whether it lived so long."""
    before = len(server.ledger())
    while process.poll() is None and len(server.ledger()) == before:
        time.sleep(0.002)
    time.sleep(wait)
    struck = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return struck


def statuses(run: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(run / "judgements.sqlite") as ledger:
        return ledger.execute("SELECT key, status FROM rows ORDER BY key").fetchall()


def exported(run: Path) -> bytes:
    load_run(run).export_judgements(run.parent / "judgements.jsonl")
    return (run.parent / "judgements.jsonl").read_bytes()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with fault_server(bias=0.5, latency=0.06, keep_bodies=False) as serving:
        yield serving


@pytest.fixture
def undisturbed(tmp_path: Path, server: FaultServer) -> Path:
    """A run nobody killed; beside it, a copy of it as it was before judging."""
    run = tmp_path / "undisturbed" / "r"
    run.parent.mkdir()
    ask(run.parent)
    finish(run, server.url, *MANY, until="sample")
    shutil.copytree(run, run.with_name("sampled"))
    finish(run, server.url, *MANY)
    return run


@pytest.mark.slow(seconds=45)
@pytest.mark.timeout(400)
def test_killed_twenty_times(undisturbed: Path, server: FaultServer, tmp_path: Path) -> None:
    needed = {line.key for line in server.paid()}
    assert len(needed) == len(server.paid()) == len(statuses(undisturbed)) > KILLS * 60
    run = Path(shutil.copytree(undisturbed.with_name("sampled"), tmp_path / "r"))
    ask(tmp_path)
    draw, before = random.Random(0), len(server.ledger())
    struck = sum(kill_when_judging(start(run, server.url), server, draw.uniform(0.0, 0.25)) for _ in range(KILLS))
    assert struck == KILLS
    assert "preferences.jsonl" not in {file.name for file in run.iterdir()}
    finish(run, server.url, *MANY)
    bought = [line for line in server.ledger()[before:] if line.billed]
    assert {line.key for line in bought} == needed
    assert 0 < len(bought) - len(needed) <= KILLS * CONCURRENCY
    assert statuses(run) == [(key, "ok") for key, _ in statuses(undisturbed)]
    assert (run / "preferences.jsonl").read_bytes() == (undisturbed / "preferences.jsonl").read_bytes()
    assert exported(run) == exported(undisturbed)
    after = len(server.ledger())
    finish(run, server.url, *MANY)
    assert len(server.ledger()) == after


@pytest.mark.slow(seconds=5)
@pytest.mark.timeout(200)
def test_one_principle_of_three_changed_costs_its_own_calls(server: FaultServer, tmp_path: Path) -> None:
    run = tmp_path / "r"
    ask(tmp_path)
    finish(run, server.url)
    before, judged = len(server.ledger()), len(statuses(run))
    ask(tmp_path, (QUESTIONS[0], "Which response uses fewer words?", QUESTIONS[2]))
    finish(run, server.url)
    sent = len(server.ledger()) - before
    assert sent == judged / 3 > 0
    with sqlite3.connect(run / "judgements.sqlite") as ledger:
        counted = dict(ledger.execute("SELECT principle, count(*) FROM rows GROUP BY principle").fetchall())
    assert counted == {PRINCIPLES[0]: sent, PRINCIPLES[1]: 2 * sent, PRINCIPLES[2]: sent}
