"""Several processes under torchrun: the first alone judges and writes; the others wait, and end as it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.testing import Fault, fault_server
from tests.helpers.commands import COMMAND
from tests.helpers.remote_judging import FAR_KEY, far_judge
from tests.helpers.small_run import ledger_rows, options, small_in

FULL = "preference_model={use: full, epochs: 1, batch: 8, base: {model: {use: demo-base, steps: 10, width: 32, layers: 2}}}"
ENVIRONMENT = {**os.environ, **FAR_KEY}
RUN = [*COMMAND[1:], "run", "demo"]


def torchrun(run: Path, *more: str, until: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline in two processes, as a user would on a machine with two GPUs."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command = [*launcher, *RUN, "--out", str(run), "--until", until, *options(*more)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=250)


def process(run: Path, rank: int, *more: str) -> subprocess.Popen[str]:
    """Start one of two processes, with no launcher that would end it when the other fails."""
    environment = {**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    command = [sys.executable, *RUN, "--out", str(run), "--until", "judge", *options(*more)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow(seconds=20)
def test_the_first_of_two_judges_and_writes_alone(tmp_path: Path) -> None:
    run, alone = tmp_path / "r", tmp_path / "alone"
    with fault_server(latency=0.05) as server:
        more = ("judge=far", far_judge(server.url), "judging.concurrency=8")
        done = torchrun(run, *more, until="judge")
        assert done.returncode == 0, done.stderr[-3000:]
        # A second process that judged too would buy some of it twice.
        assert len(server.paid()) == len({line.key for line in server.paid()}) == sum(ledger_rows(run).values())
        for line in ("the first of 2 processes runs every stage", "sample …", "judge …", "run folder:"):
            assert done.stdout.count(line) == 1, done.stdout
        small_in(tmp_path, alone, *more, until="judge", **FAR_KEY)
        for name in ("pairs.jsonl", "preferences.jsonl"):
            assert (run / name).read_bytes() == (alone / name).read_bytes()
        before = len(server.ledger())
        again = torchrun(run, *more, until="judge")
        assert again.returncode == 0, again.stderr[-3000:]
        assert "nothing to do" in again.stdout
        assert len(server.ledger()) == before


@pytest.mark.slow(seconds=30)
def test_the_other_fails_with_the_first_and_does_not_take_that_for_the_next_end(tmp_path: Path) -> None:
    run, broken = tmp_path / "r", True

    def faults(number: int, body: dict[str, object]) -> Fault | str | None:
        return "unauthorized_401" if broken else None

    with fault_server(faults=faults, latency=0.2) as server:
        more = ("judge=far", far_judge(server.url), "judging.concurrency=4")
        other = process(run, 1, *more)
        time.sleep(2)
        first = process(run, 0, *more)
        errors = [started.communicate(timeout=250)[1] for started in (first, other)]
        assert (first.returncode, other.returncode) == (1, 1), errors
        assert "FAR_KEY" in errors[0]
        assert "rank 0 failed" in errors[1]
        assert json.loads((run / "manifest.json").read_text())["launch"]["state"] == "failed"
        broken = False
        other = process(run, 1, *more)
        time.sleep(4)
        assert other.poll() is None, "an earlier launch's failure was taken for this one's"
        first = process(run, 0, *more)
        out, err = other.communicate(timeout=250)
        assert (other.returncode, out) == (0, ""), err
        assert first.wait(timeout=50) == 0
        for pipe in (first.stdout, first.stderr):
            assert pipe is not None
            pipe.close()


@pytest.mark.slow(seconds=17)
def test_a_trainer_that_knows_of_groups_trains_in_the_first_alone(tmp_path: Path) -> None:
    done = torchrun(tmp_path / "r", FULL, until="train-pms")
    assert done.returncode == 0, done.stderr[-3000:]
    stages = json.loads((tmp_path / "r" / "manifest.json").read_text())["stages"]
    assert {name: stage["state"] for name, stage in stages.items()} == dict.fromkeys(
        ("sample", "judge", "train-pms"), "done"
    )


@pytest.mark.slow(seconds=25)
def test_a_cluster_that_ends_a_launch_while_it_trains_costs_no_step(tmp_path: Path) -> None:
    """The launcher passes SIGTERM on to both processes: the other waits until the first has written its checkpoint."""
    run, rows = tmp_path / "r", tmp_path / "r" / "policy" / "metrics.jsonl"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    more = options("trainer.steps=4000", "trainer.prompts_per_step=64", "trainer.checkpoint_every=10000")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*launcher, *RUN, "--out", str(run), *more], env=ENVIRONMENT, **pipes) as started:
        for _ in range(600):
            if rows.exists() and rows.stat().st_size:
                break
            time.sleep(0.2)
        started.terminate()
        said, _ = started.communicate(timeout=60)
    steps = len(rows.read_text().splitlines())
    assert [path.name for path in (run / "policy").glob("checkpoint-*")] == [f"checkpoint-{steps}"], said
    assert json.loads((run / "manifest.json").read_text())["launch"]["state"] == "interrupted"
    assert (run / ".lock").read_text() == ""
