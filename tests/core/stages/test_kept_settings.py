"""Settings that change nothing of what is done: kept for what comes next, and nothing is moved for a refused run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from morlaif_core import Component, NoOptions, ScoreMatrix, Terms, UserError, component, load_run, run as run_pipeline
from morlaif_core.errors import RunFailed
from morlaif_core.plugins.manager import Offer
from morlaif_core.types import Floats
from tests.helpers.small_run import SETS, small

FIRST = "principles.detail.weight=0.25"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, as if its policy had never been asked for."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    return out


def without_policy(run: Path) -> Path:
    """Forget policy and evaluation."""
    manifest = json.loads((run / "manifest.json").read_text())
    for name in ("train-policy", "evaluate"):
        del manifest["stages"][name]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def test_a_changed_weight_is_seen_before_any_policy(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_policy(copied)
    run_pipeline("demo", out=copied, sets=(*SETS, FIRST, "scalarizer.use=max_min"), until="train-pms")
    settings = load_run(copied).context().settings
    assert settings.principles["detail"].weight == 0.25
    assert settings.scalarizer.use == "max_min"
    said = capsys.readouterr().out
    assert "run.yaml now has the changed settings" in said
    assert "train-pms …" not in said


def test_settings_that_a_policy_was_not_trained_with_are_not_kept(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "run.yaml").read_text()
    run_pipeline("demo", out=copied, sets=(*SETS, FIRST), until="train-pms")
    assert (copied / "run.yaml").read_text() == before
    assert "not kept: train-policy was done with others" in capsys.readouterr().out


def test_too_few_prompts_move_nothing(copied: Path) -> None:
    with pytest.raises(UserError, match="too few prompts"):
        small(copied, "prompts.evaluation=5000")
    assert not (copied / "replaced").exists()
    assert (copied / "evaluation.json").exists()
    small(copied)  # as it was: nothing is to be done


@pytest.mark.parametrize("refused", ["prompts.evaluation=5000", "prompts.rl=5000"])
def test_a_refused_run_changes_nothing(copied: Path, refused: str) -> None:
    before = (copied / "run.yaml").read_bytes()
    with pytest.raises(UserError, match="too few prompts"):
        small(copied, "scalarizer.use=soft_max_min", refused)
    assert (copied / "run.yaml").read_bytes() == before
    assert not (copied / "replaced").exists()


def test_what_is_asked_again_keeps_the_settings_of_what_stays(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["stages"]["judge"]["failed"] = 1
    (copied / "manifest.json").write_text(json.dumps(manifest))
    before = (copied / "run.yaml").read_bytes()
    small(copied, "scalarizer.use=soft_max_min", until="judge")
    assert (copied / "run.yaml").read_bytes() == before


def test_a_reward_of_another_scalarizer_is_refused(copied: Path) -> None:
    file = copied / "run.yaml"
    file.write_text(file.read_text().replace("use: weighted", "use: max_min"))
    with pytest.raises(RunFailed, match="max_min"):
        load_run(copied).reward().state()


def test_a_scalarizer_that_writes_into_its_scores_falsifies_no_other(copied: Path) -> None:
    def build(options: NoOptions) -> object:
        def overwrite(scores: ScoreMatrix, terms: Terms) -> Floats:
            scores.values[:] = 0
            return scores.values[:, 0]

        return overwrite

    offered: Component[object] = component("overwrite", build, NoOptions, "a stranger's")
    with load_run(copied).workbench() as bench:
        plugins = bench._context.plugins
        plugins.offers_by_kind["scalarizer"].append(Offer("stranger", "stranger", "1", "scalarizer", offered))
        reference = bench.reference()
        before = reference.values.copy()
        bench.scalarize(reference, {"use": "overwrite"}, reference)
    assert (reference.values == before).all()


def test_its_own_run_yaml_is_the_same_run(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copied / "run.yaml").read_bytes()
    run_pipeline(str(copied / "run.yaml"), out=copied)
    assert "nothing to do" in capsys.readouterr().out
    assert (copied / "run.yaml").read_bytes() == before


def test_a_run_yaml_of_an_earlier_version_is_written_out_without_a_word(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copied / "run.yaml"
    whole = file.read_text()
    settings = yaml.safe_load(whole)
    del settings["trainer"]["clip"], settings["judges"]["rules"]["sharpness"], settings["target"]["model"]["heads"]
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    run_pipeline("demo", out=copied, sets=SETS)
    said = capsys.readouterr().out
    assert "nothing to do" in said
    assert "run.yaml" not in said
    assert file.read_text() == whole
