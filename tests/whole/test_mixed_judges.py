"""Every kind of judge in one run: openai, anthropic, transformers, rules and a panel of two; killed, gone on, reported."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from morlaif_core import run as run_pipeline
from morlaif_core.testing import FaultServer, KnownPreference, fault_server
from tests.helpers.commands import logged
from tests.helpers.small_run import SETS
from tests.helpers.tiny_models import save_tiny

KEYS = {"FAR_KEY": "sk-test-on-loopback-0123456789", "ANTHROPIC_API_KEY": "sk-ant-test-on-loopback-01234"}
JUDGE_OF = {"helpfulness": "gpt", "conciseness": "claude", "detail": "local", "relevance": "rules", "empathy": "both"}
OWN_SETS = tuple(text for text in SETS if not text.startswith("principles"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    # Chosen so that a verdict never depends on how often it was asked.
    with fault_server(oracle=KnownPreference(spread=2.0), bias=0.7, latency=0.02, redraws=False) as serving:
        yield serving


def configuration(folder: Path, server: FaultServer) -> Path:
    """A configuration file as a user would write it."""
    model = save_tiny(folder / "judge", "llama", positions=2048)
    price = "{input: 1.0, output: 2.0}"
    file = folder / "mixed.yaml"
    file.write_text(
        f"""
judges:
  gpt: {{use: openai, model: any, base_url: "{server.url}", api_key: FAR_KEY, judging: {{price: {price}}}}}
  claude: {{use: anthropic, model: any, base_url: "{server.anthropic_url}", judging: {{price: {price}}}}}
  local: {{use: transformers, model: "{model}", judging: {{min_label_mass: 0.0}}}}
  both: {{panel: [gpt, claude]}}
principles:
{"".join(f"  {name}: {{judge: {judge}}}" + chr(10) for name, judge in JUDGE_OF.items())}
pairs: {{source: dataset}}
budget: {{usd: 5.0}}
""",
        encoding="utf-8",
    )
    return file


def start(file: Path, run: Path, until: str) -> subprocess.Popen[bytes]:
    sets = [part for text in OWN_SETS for part in ("--set", text)]
    arguments = ["run", "demo", str(file), "--out", str(run), "--until", until, *sets]
    return logged(run.parent / "log", *arguments, environment=KEYS, cwd=run.parent)


def here(file: Path, out: Path, until: str) -> None:
    """Do the same in this process."""
    out.parent.mkdir(exist_ok=True)
    with chdir(out.parent), patch.dict(os.environ, KEYS):
        run_pipeline("demo", str(file), out=out, sets=OWN_SETS, quiet=True, until=until)


def preferences(run: Path) -> bytes:
    return (run / "preferences.jsonl").read_bytes()


@pytest.mark.slow(seconds=45)
@pytest.mark.timeout(600)
def test_a_mixed_run_is_killed_goes_on_and_reports(server: FaultServer, tmp_path: Path) -> None:
    file = configuration(tmp_path, server)
    whole, run, draw = tmp_path / "a" / "run", tmp_path / "b" / "run", random.Random(1)
    here(file, whole, "sample")
    shutil.copytree(whole.parent, run.parent)
    here(file, whole, "judge")
    needed = {line.key for line in server.paid()}
    before = len(server.ledger())
    for _ in range(4):
        process = start(file, run, "judge")
        seen = len(server.ledger())
        while process.poll() is None and len(server.ledger()) == seen:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.15))
        assert process.poll() is None, (tmp_path / "b" / "log").read_text()[-3000:]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(file, run, "evaluate").wait(timeout=250) == 0, (tmp_path / "b" / "log").read_text()[-3000:]
    assert preferences(run) == preferences(whole)
    bought = [line for line in server.ledger()[before:] if line.billed and line.key in needed]
    assert {line.key for line in bought} == needed
    assert len(bought) - len(needed) <= 4 * 2 * 16  # kills x judges at the server x concurrency

    results = json.loads((run / "results.json").read_text())
    for name, judge in JUDGE_OF.items():
        check_block(results["judge"][name], paid=judge in ("gpt", "claude", "both"))
    assert results["cost_usd"] > 0
    assert set(results["judge"]["empathy"]["members"]) == {"gpt", "claude"}
    assert results["judge"]["empathy"]["panel"]["alpha"] is not None
    assert results["win_rate"]["overall"] is not None
    log = (tmp_path / "b" / "log").read_text()
    for secret in KEYS.values():
        assert secret not in log
        assert all(secret.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())


def check_block(block: dict[str, Any], *, paid: bool) -> None:
    """What the report says of every principle, whoever judged it."""
    names = ("ok", "ties", "not_applicable", "refused", "filtered", "off_label", "parse_error", "failed")
    assert block["n"] == sum(block[name] for name in names) > 0
    assert block["ok"] + block["ties"] == block["n"]
    for name in ("prefer_longer", "prefer_longer_human"):
        assert 0 <= block[name] <= 1
    assert len(block["agreement_with_human"]["ci95"]) == 2
    # A panel has no orders of its own: its members have.
    for each in block["members"].values() if "members" in block else [block]:
        assert each["position_bias"] is not None or each["notes"]["position_bias"]
        assert 0 <= each["order_consistency"] <= 1
    assert block["cost_usd"] > 0 if paid else block["cost_usd"] == 0
