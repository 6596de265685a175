"""The command `fit-weights` on a real small run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from morlaif_analysis.fit_weights.command import _differences, fit_weights
from morlaif_core import Doubles, Preference, UserError, load_run
from morlaif_core.cli.main import cli
from morlaif_core.config.load import load_config
from tests.helpers.failing_scores import let_fail, one_in
from tests.helpers.small_run import small

SEED = 0
"""Of noise whose fit predicts worse than equal weights."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real run up to its preference models, one of them learnt from people."""
    out = tmp_path_factory.mktemp("fit-weights") / "run"
    terms = (
        "principles={helpfulness: {judge: human}, politeness: {threshold: {quantile: 0.4}, priority: 3}, "
        "detail: {judge: rules, weight: 2.0}, conciseness: {threshold: -0.5}}"
    )
    sizes = "prompts={pm: 60, validation: 0.25, calibration: 20, rl: 360, evaluation: 8}"
    small(
        out, terms, sizes, "dataset.prompts=700", "pairs.source=dataset", "preference_model.epochs=3", until="train-pms"
    )
    return out


def called(run: Path, *arguments: str) -> Result:
    """The command as it is called, quick."""
    quick = ("--resamples", "100", "--orders", "6")
    return CliRunner().invoke(fit_weights, [str(run), *quick, *arguments])


def test_the_command_saves_a_layer_that_a_run_takes(run: Path) -> None:
    result = called(run, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((run / "weights" / "weights.json").read_text(encoding="utf-8"))
    assert found["choices"]["n"] > 350
    assert list(found["principles"]) == ["politeness", "detail", "conciseness"]
    assert list(found["left_out"]) == ["helpfulness"]
    assert found["held_out"].keys() == {"fitted", "equal", "own", "best_single"}
    before = load_config([str(run / "run.yaml")], alone=True).settings
    after = load_config([str(run / "run.yaml"), str(run / "weights" / "weights.yaml")], alone=True).settings
    for name, terms in after.principles.items():
        weight = found["principles"][name]["weight"] if name in found["principles"] else 0.0
        assert terms.weight == pytest.approx(weight, abs=1e-6)
        assert terms.model_copy(update={"weight": 0}) == before.principles[name].model_copy(update={"weight": 0})
    assert sum(terms.weight for terms in after.principles.values()) == pytest.approx(1, abs=1e-5)
    assert before.model_copy(update={"principles": {}}) == after.model_copy(update={"principles": {}})
    assert not [file for file in (run / "weights").iterdir() if file.name.startswith(".")]


def test_what_the_fitted_weights_change_is_the_policy_alone(run: Path) -> None:
    assert called(run).exit_code == 0
    layers = [str(run / "run.yaml"), str(run / "weights" / "weights.yaml")]
    checked = CliRunner().invoke(cli, ["check", *layers])
    assert checked.exit_code == 0, checked.output
    assert "weights.yaml" in checked.output
    before = load_run(run).manifest["stages"]
    again = CliRunner().invoke(cli, ["run", *layers, "--out", str(run), "--until", "train-pms"])
    assert again.exit_code == 0, again.output
    assert load_run(run).manifest["stages"] == before
    assert not (run / "replaced").exists()


def test_the_command_prints_what_it_found(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "mine.yaml"
    result = called(run, "--out", str(file), "--signed", "--pairs", "300")
    assert result.exit_code == 0, result.output
    for text in ("300 human choices", "equal weights", "best single:", "slope", "helpfulness is left out", str(file)):
        assert text in result.stdout
    assert all(
        terms["weight"] >= 0 for terms in yaml.safe_load(file.read_text(encoding="utf-8"))["principles"].values()
    )


def test_choices_whose_score_failed_are_left_out_and_counted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads(called(run, "--json").stdout)["choices"]["n"]
    with monkeypatch.context() as patch:
        let_fail(patch, "detail", one_in(20))
        result = called(run, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        failed = found["failed"]["choices"]
        assert 0 < failed == before - found["choices"]["n"]
        assert found["failed"]["principles"] == {"detail": failed}
        assert f"{failed} more are left out: a response has no score (detail {failed})" in called(run).stdout
    let_fail(monkeypatch, "detail", lambda text: True)
    none = called(run)
    assert isinstance(none.exception, UserError)
    assert f"{before:,} of {before:,} human choices have no score (detail" in str(none.exception)


def test_the_command_refuses_what_it_cannot_learn_from(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = called(run, "--pairs", "30")
    assert isinstance(few.exception, UserError)
    assert "too few human choices" in str(few.exception)
    assert called(run).exit_code == 0
    with monkeypatch.context() as patch:  # people who choose the opposite of all that the principles prefer
        patch.setattr("morlaif_analysis.fit_weights.command._differences", _opposed)
        opposed = called(run)
    assert isinstance(opposed.exception, UserError)
    assert "no YAML is written" in str(opposed.exception)
    assert not (run / "weights" / "weights.yaml").exists()
    assert json.loads((run / "weights" / "weights.json").read_text(encoding="utf-8"))["findings"]


def test_weights_that_predict_worse_than_equal_ones_are_not_recommended(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(run).exit_code == 0
    monkeypatch.setattr("morlaif_analysis.fit_weights.command._differences", _noise)
    result = called(run)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("not recommended: the fitted weights predict the held-out choices worse than equal ones do.")
    assert "use them" not in result.stdout
    assert not (run / "weights" / "weights.yaml").exists()
    assert not json.loads((run / "weights" / "weights.json").read_text(encoding="utf-8"))["recommended"]
    file = tmp_path / "mine.yaml"
    assert f"{file} holds them all the same" in called(run, "--out", str(file)).stdout
    assert "# Not recommended" in file.read_text(encoding="utf-8")
    as_json = called(run, "--json")
    assert not json.loads(as_json.stdout)["recommended"]
    assert "not recommended" in as_json.stderr


def _noise(bench: Any, labels: Sequence[Preference], names: Sequence[str]) -> Doubles:
    """What people weigh alike, and too much noise for a fit on a few hundred of them to find."""
    generator = np.random.default_rng(SEED)
    sign = np.array([item.p_a - 0.5 for item in labels])[:, None]
    return np.asarray(sign * 0.3 + generator.normal(size=(len(labels), len(names))))


def _opposed(bench: Any, labels: Sequence[Preference], names: Sequence[str]) -> Doubles:
    sign = np.array([item.p_a - 0.5 for item in labels])[:, None]
    return np.asarray(-sign * np.linspace(1, 2, len(names)))


@pytest.mark.parametrize("place", ["folder", "file/weights.yaml", "file/deeper/weights.yaml", "/proc/weights.yaml"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("morlaif_analysis.fit_weights.command._differences", _never)
    result = called(run, "--out", str(tmp_path / place))
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 2
    assert f"--out {tmp_path / place}" in str(result.exception)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]


def _never(*arguments: Any) -> Doubles:
    raise AssertionError("scored before --out was looked at")


def test_json_stays_alone_on_stdout(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def talks(bench: Any, labels: Sequence[Preference], names: Sequence[str]) -> Any:
        print("a library says hello")
        return _differences(bench, labels, names)

    monkeypatch.setattr("morlaif_analysis.fit_weights.command._differences", talks)
    result = called(run, "--json")
    assert json.loads(result.stdout)["format"] == 1
    assert "a library says hello" in result.stderr


def test_a_data_set_without_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morlaif_demo.corpus.DemoDataset.preferences", lambda dataset, split: iter(()))
    small(tmp_path / "run", until="sample")
    result = called(tmp_path / "run")
    assert isinstance(result.exception, UserError)
    assert "'demo' has no human labels" in str(result.exception)


def test_a_run_of_human_labels_alone_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "run.yaml").read_text(encoding="utf-8")
    (copy / "run.yaml").write_text(text.replace("judge: rules", "judge: human"), encoding="utf-8")
    result = called(copy)
    assert isinstance(result.exception, UserError)
