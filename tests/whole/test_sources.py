"""One run, a principle from each source of scores: judged and learned whole, by a probe, a reward model, a measure."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from morlaif_core import load_run, open_judges
from morlaif_core.cli.main import cli as command_line, guarded
from morlaif_estimate.estimate import estimate
from tests.helpers.commands import Cli, logged
from tests.helpers.small_run import SETS, final_files, ledger_rows
from tests.helpers.tiny_classifiers import save_decoder

NAMES = ("helpfulness", "conciseness", "detail", "quality", "no-flattery")
GIVEN = ("detail", "quality", "no-flattery")
OWN_SETS = tuple(text for text in SETS if not text.startswith("principles"))
PAIRS = "How do I bake bread?", ("Mix flour and water, and let it rest.", "No.", "Great question, you genius! No.")


def configuration(folder: Path) -> Path:
    """A configuration file as a user would write it, its reward model beside it."""
    save_decoder(folder / "rm", 2, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
    file = folder / "sources.yaml"
    file.write_text(
        """
principles:
  helpfulness: {judge: rules}
  conciseness: {judge: rules, preference_model: probe}
  detail: {judge: rules, preference_model: {use: direct, measure: richness}}
  quality: {judge: none, preference_model: {use: pretrained, model: rm, column: good}}
  no-flattery: {judge: none, preference_model: {use: direct, measure: -flattery}}
reward: {calibrate: std}
""",
        encoding="utf-8",
    )
    return file


def start(folder: Path) -> subprocess.Popen[bytes]:
    sets = [part for text in OWN_SETS for part in ("--set", text)]
    return logged(folder / "log", "run", "demo", "sources.yaml", "--out", "r", *sets, environment={}, cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run ``r`` and its configuration."""
    folder = tmp_path_factory.mktemp("sources")
    configuration(folder)
    process = start(folder)
    assert process.wait(timeout=300) == 0, (folder / "log").read_text()
    return folder


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process; returns exit code, stdout and stderr."""

    def called(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: command_line.main(list(arguments), standalone_mode=False))
        return code, *capsys.readouterr()

    return called


def test_every_source_has_its_column_in_one_unit(done: Path) -> None:
    calibration = json.loads((done / "r" / "preference_models" / "calibration.json").read_text())
    assert tuple(calibration["principles"]) == NAMES
    deviations = [unit["deviation"] for name, unit in calibration["principles"].items() if name != "no-flattery"]
    # Of one unit; where a probe does not predict its judge it counts for a tenth, which a note says.
    noted = any("do not predict" in note for note in calibration["notes"])
    assert all(0.5 < deviation < 1.1 for deviation in deviations) or noted
    results = load_run(done / "r").results
    assert tuple(results["preference_models"]) == NAMES
    assert [name for name in NAMES if results["preference_models"][name]["n"] is None] == list(GIVEN)
    assert [name for name in NAMES if results["policy"][name]["win_rate"] is None] == ["quality", "no-flattery"]
    assert set(ledger_rows(done / "r")) == {"helpfulness", "conciseness", "detail"}


def test_the_run_keeps_what_it_was_made_of(done: Path) -> None:
    kept = yaml.safe_load((done / "r" / "run.yaml").read_text())["principles"]
    model = kept["quality"]["preference_model"]
    assert (model["use"], model["model"], model["column"]) == ("pretrained", str(done / "rm"), "good")
    assert "preference_model" not in kept["helpfulness"]
    models = load_run(done / "r").manifest["models"]
    assert models["principles.quality.preference_model"]["resolved"] == str(done / "rm")


def test_score_and_explain_know_every_source(done: Path, cli: Cli) -> None:
    prompt, responses = PAIRS
    arguments = [part for text in responses for part in ("--response", text)]
    code, out, err = cli("score", str(done / "r"), "--prompt", prompt, *arguments, "--json")
    assert code == 0, err
    assert all(name in out for name in NAMES)
    reward = load_run(done / "r").reward()
    batch = reward([prompt] * 3, list(responses))
    assert batch.scores.principles == NAMES
    assert batch.raw is not None
    assert batch.raw.values[:, 4].tolist() == [0, 0, -1]
    explained = reward.explain(batch)
    assert set(explained.decided) <= set(NAMES)
    assert np.isfinite(explained.influence).all()


def test_the_estimate_is_what_the_ledger_has(done: Path) -> None:
    with open_judges(["demo", done / "sources.yaml"], OWN_SETS, done / "r", hold=False, quiet=True) as bench:
        found = estimate(bench)
    assert found["total"]["requests"] == 0
    assert found["total"]["answered_before"] == sum(ledger_rows(done / "r").values())


def test_check_shows_where_each_backend_stands(done: Path, cli: Cli) -> None:
    sets = [part for text in OWN_SETS for part in ("--set", text)]
    code, out, err = cli("check", "demo", str(done / "sources.yaml"), *sets)
    assert code == 0, err
    assert "principles.quality.preference_model.column" in out
    assert "ready to run" in out


def test_another_reward_model_in_its_place_is_not_taken_for_it(done: Path, tmp_path: Path, cli: Cli) -> None:
    for name in ("rm", "r"):
        shutil.copytree(done / name, tmp_path / name)
    text = (tmp_path / "r" / "run.yaml").read_text().replace(str(done), str(tmp_path))
    (tmp_path / "r" / "run.yaml").write_text(text)
    save_decoder(tmp_path / "rm", 2, seed=5, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
    code, _, err = cli("score", str(tmp_path / "r"), "--prompt", "Why?", "--response", "No.")
    assert code == 2, err
    shutil.rmtree(tmp_path / "rm")
    code, _, err = cli("run", str(tmp_path / "r"))
    assert code == 2
    assert "principles.quality.preference_model" in err
    assert "rm" in err


@pytest.mark.slow(seconds=60)
@pytest.mark.timeout(600)
def test_killed_again_and_again(done: Path, tmp_path: Path) -> None:
    configuration(tmp_path)
    seconds = sum(load_run(done / "r").results["seconds"].values()) + 5
    draw, kills, code = random.Random(1), 0, None
    while code is None:
        process = start(tmp_path)
        try:
            code = process.wait(timeout=draw.uniform(0.3, 0.9) * seconds if kills < 5 else 300)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.1)
    assert code == 0, (tmp_path / "log").read_text()
    assert kills
    assert final_files(tmp_path / "r") == final_files(done / "r")
    assert ledger_rows(tmp_path / "r") == ledger_rows(done / "r")
