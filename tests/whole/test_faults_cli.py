"""The command itself while things go wrong: interrupted, a judge down, and a key that must not show anywhere."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from morlaif_core.testing import Fault, FaultMix, FaultServer, fault_server
from morlaif_core.testing.faultserver import ANSWERS
from tests.helpers.commands import logged
from tests.helpers.shared_folders import SharedFolders
from tests.helpers.small_run import options, small_in

CANARY = "sk-canary-4f1d9b7e2a60"
MAIN = "from morlaif_core.cli.main import main; main()"
LOUD = "import logging; logging.basicConfig(level=logging.DEBUG); " + MAIN


def judges(server: FaultServer, **urls: str) -> list[str]:
    """Settings: one judge of each kind, a principle for each."""
    address = {"openai": server.url, "anthropic": server.anthropic_url, **urls}
    sets = [
        f"judges.{sdk}={{use: {sdk}, model: some-model, base_url: '{url}', api_key: FAR_KEY, timeout: 2.0}}"
        for sdk, url in address.items()
    ]
    # No label mass is asked of a model that knows nothing, or a judge without labels would stop the run.
    model = "model: {use: demo-base, steps: 10, width: 32, layers: 2, context: 1024}"
    near = f"judges.near={{use: transformers, {model}, judging: {{min_label_mass: 0.0}}}}"
    principles = "helpfulness: {judge: openai}, conciseness: {judge: anthropic}, detail: {judge: rules}"
    return [*sets, near, f"principles={{{principles}, empathy: {{judge: near}}}}"]


def start(run: Path, sets: list[str], until: str = "judge", code: str = MAIN) -> subprocess.Popen[bytes]:
    environment = {"FAR_KEY": CANARY}
    if code == LOUD:
        environment |= {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug"}
    arguments = ["run", "demo", "--out", str(run), "--until", until, *options(*sets)]
    return logged(run.with_suffix(".log"), *arguments, code=code, environment=environment)


def finish(run: Path, sets: list[str], until: str = "judge", code: str = MAIN) -> tuple[int, str]:
    """Run the command to its end and return its exit code and what it said."""
    log = run.with_suffix(".log")
    before = log.stat().st_size if log.exists() else 0
    ended = start(run, sets, until, code).wait(timeout=200)
    return ended, log.read_bytes()[before:].decode()


def statuses(run: Path) -> Counter[tuple[str, str]]:
    with sqlite3.connect(run / "judgements.sqlite") as ledger:
        return Counter(ledger.execute("SELECT judge, status FROM rows").fetchall())


@pytest.fixture(scope="module")
def sampled(shared: SharedFolders) -> Path:
    """A run as it is before judging."""

    def sample(folder: Path) -> None:
        with fault_server() as server:
            small_in(folder, folder / "r", *judges(server), until="sample", FAR_KEY=CANARY)

    return shared.made("sampled-for-faults", sample) / "r"


@pytest.mark.slow(seconds=16)
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_keeps_all_that_it_bought(sampled: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = Path(shutil.copytree(sampled, tmp_path / "r"))
    with fault_server(latency=0.3) as server:
        process = start(run, judges(server))
        while len(server.paid()) < 20 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait(timeout=20) == 130, run.with_suffix(".log").read_text()[-3000:]
        bought = len(server.paid())
        kept = statuses(run)
        assert bought == kept["openai", "ok"] + kept["anthropic", "ok"] + kept["anthropic", "tie"] < 136
        small_in(tmp_path, run, *judges(server), until="judge", FAR_KEY=CANARY)
        assert Counter(line.key for line in server.paid()).most_common(1)[0][1] == 1


@pytest.mark.slow(seconds=17)
@pytest.mark.timeout(200)
def test_the_others_finish_where_one_judge_is_down(sampled: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(sampled, tmp_path / "r"))
    # Bound, so that nobody else gets it, and not listened to.
    with socket.socket() as reserved, fault_server() as up:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        sets = judges(up, anthropic=f"http://127.0.0.1:{port}")
        code, said = finish(run, sets)
        assert code == 1
        assert "judging is incomplete: judge 'anthropic'" in said
        assert said.count("requests in a row got no answer") <= 2, "where others went on, and at the end"
        assert "Traceback" not in said
        seen = statuses(run)
        n = seen["openai", "ok"]
        assert n == len(up.paid()) > 0
        assert seen["rules", "ok"] + seen["rules", "tie"] == n
        assert sum(count for (judge, _), count in seen.items() if judge == "near") == n
        assert json.loads((run / "manifest.json").read_text())["stages"]["judge"]["state"] != "done"
        reserved.close()
        with fault_server(port=port) as back:
            small_in(tmp_path, run, *sets, until="judge", FAR_KEY=CANARY)
            assert len(back.paid()) == n
        assert len(up.paid()) == n
    judged = json.loads((run / "results.json").read_text())["judge"]
    assert {name: block["n"] for name, block in judged.items()} == dict.fromkeys(judged, n // 2)


@pytest.mark.slow(seconds=35)
@pytest.mark.timeout(300)
def test_a_key_shows_nowhere(sampled: Path, tmp_path: Path) -> None:
    """Everything logs as much as it can, and the server repeats the key in its refusals."""
    run = Path(shutil.copytree(sampled, tmp_path / "r"))
    echo = Fault(401, body=json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}"}}))
    with fault_server(faults=lambda number, body: echo if number >= 20 else None) as server:
        code, said = finish(run, judges(server), code=LOUD)
        assert (code, "FAR_KEY" in said) == (1, True)
    mix = FaultMix(rate=0.4, kinds=(*(kind for kind in FaultMix().kinds if "600" not in kind), *ANSWERS), hang=3)
    with fault_server(faults=mix) as server:
        for _ in range(3):
            finish(run, judges(server), code=LOUD)
        assert len({line.kind for line in server.ledger()}) > 20
    log = run.with_suffix(".log").read_text()
    assert "DEBUG:openai" in log
    assert "DEBUG:anthropic" in log
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert run / "judgements.sqlite" in files
    assert [file for file in files if CANARY.encode() in file.read_bytes()] == []
