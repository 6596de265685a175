"""The whole plugins of docs/model-plugins.md: installed as a stranger's, each run through a small pipeline."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import morlaif_core
from morlaif_core import Policy, UserError, load_run
from morlaif_core.cli.main import cli
from morlaif_core.errors import RunFailed
from tests.helpers.distributions import add_distribution
from tests.helpers.documents import ROOT, blocks
from tests.helpers.small_run import PRINCIPLES, SETS, small

BLOCKS = [block for block in blocks(ROOT / "docs" / "model-plugins.md") if block.language == "python"]
MODULES = [block.file.removesuffix(".py") for block in BLOCKS if not block.file.startswith("test_")]
CHECKS = "test_contracts"
CHECKED = re.findall(r"^def (test_\w+)", "".join(block.text for block in BLOCKS), re.M)
TRAINER = "trainer={use: best_of_n, steps: 3, prompts_per_step: 4, n: 2, learning_rate: 0.001}"
LAGRANGIAN = ("scalarizer={use: lagrangian, initial: 1.0, eta: 0.5}", "principles.detail.threshold=1.5")


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's plugins, installed."""
    folder = tmp_path_factory.mktemp("site")
    for block in BLOCKS:
        block.write(folder)
    add_distribution(folder, "strangers", "", entries={name.replace("_", "-"): name for name in MODULES})
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in (*MODULES, CHECKS):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("name", CHECKED)
def test_it_keeps_the_contract(name: str, tmp_path: Path) -> None:
    getattr(importlib.import_module(CHECKS), name)(tmp_path)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "policy" / "metrics.jsonl").read_text().splitlines()]


def state(run: Path) -> Any:
    return json.loads((run / "policy" / "reward_state.json").read_text())["scalarizer"]


@pytest.fixture
def trained_on(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run: only its policy has to be trained anew."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("sets", [LAGRANGIAN, ("reward.utility=expected",)], ids=["lagrangian", "expected"])
def test_a_trainer_that_never_ends_a_step_moves_the_state(trained_on: Path, sets: tuple[str, ...]) -> None:
    small(trained_on, TRAINER, *sets)
    numbers = [{k: v for k, v in row.items() if k.startswith("scalarizer/")} for row in rows(trained_on)]
    assert len({json.dumps(each) for each in numbers}) == 3, "each step moves it"
    assert numbers[-1] == {
        f"scalarizer/{part}/{name}": value
        for part, values in state(trained_on).items()
        for name, value in values.items()
    }


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.usefixtures("site")
def test_a_killed_trainer_goes_on_to_the_same_policy(trained_on: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(shutil.copytree(trained_on, trained_on.parent / "whole"))
    small(whole, TRAINER, *LAGRANGIAN, until="train-policy")
    from morlaif_core.reward.steps import SteppedReward

    told = SteppedReward.reported

    def killed(self: SteppedReward, step: int, trainer: str) -> None:
        if step == 2:
            raise KilledError
        told(self, step, trainer)

    monkeypatch.setattr(SteppedReward, "reported", killed)
    with pytest.raises(KilledError):
        small(trained_on, TRAINER, *LAGRANGIAN, until="train-policy")
    monkeypatch.setattr(SteppedReward, "reported", told)
    # Its checkpoint of step 2 was written before the step was reported, and holds the scores that will end it.
    small(trained_on, TRAINER, *LAGRANGIAN, until="train-policy")
    assert state(trained_on) == state(whole)
    weights = "policy/model.safetensors"
    assert (trained_on / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.usefixtures("site")
def test_best_of_n_is_left_to_the_sampler_and_said(
    trained_on: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best_of_n: Any = importlib.import_module("best_of_n")
    monkeypatch.setattr(best_of_n.BestOfN, "train", lambda self, job: Policy(job.target, best_of=4))
    morlaif_core.run("demo", out=trained_on, sets=(*SETS, TRAINER), until="train-policy")
    assert "best of 4 responses; sampler 'transformers' must draw" in capsys.readouterr().out


@pytest.mark.usefixtures("site")
def test_a_reward_that_is_never_used_stops_the_run(trained_on: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best_of_n: Any = importlib.import_module("best_of_n")
    monkeypatch.setattr(best_of_n.BestOfN, "_draw", lambda self, job, backbone, step: ([(job.prompts[0], "Hi")], 0.0))
    with pytest.raises(RunFailed, match=r"trainer 'best_of_n' has not scored .*job.reward.end_step"):
        small(trained_on, TRAINER, *LAGRANGIAN)
    small(trained_on, TRAINER)  # a reward without state may be left unused


def test_a_finished_run_is_scored_and_read_without_the_trainer(trained_on: Path, site: Path) -> None:
    small(trained_on, TRAINER, "sampler={use: ladder}")
    prompt, texts = "How do I bake bread?", ["Mix flour and water.", "No."]
    expected = load_run(trained_on).reward()([prompt] * 2, texts).rewards.tolist()
    shutil.rmtree(site / "strangers-1.0.dist-info")
    run = load_run(trained_on)
    assert run.reward()([prompt] * 2, texts).rewards.tolist() == expected
    assert CliRunner().invoke(cli, ["score", str(trained_on), "--prompt", prompt, "--response", "No."]).exit_code == 0
    assert CliRunner().invoke(cli, ["status", str(trained_on)]).exit_code == 0
    assert run.settings.trainer.use == "best_of_n"
    made = r"made with strangers 1\.0 \(plugin .*ladder.*\); it is not installed: pip install strangers==1\.0"
    gone = f"no sampler 'ladder'.*{made}"
    with pytest.raises(UserError, match=f"(?s){gone}"):
        run.generate([prompt])
    with pytest.raises(UserError, match=f"(?s){gone}"):
        morlaif_core.run(trained_on, quiet=True)


@pytest.mark.usefixtures("site")
def test_all_four_in_one_run(tmp_path: Path) -> None:
    sets = (
        TRAINER,
        "target.model={use: words, steps: 20}",
        "sampler={use: ladder, width: 0.2}",
        "preference_model={use: bag_of_words}",
    )
    results = small(tmp_path / "run", *sets).results
    assert set(results["policy"]) == set(PRINCIPLES)
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    small(tmp_path / "run", *sets)
    assert json.loads(before)["stages"] == json.loads((tmp_path / "run" / "manifest.json").read_bytes())["stages"]
