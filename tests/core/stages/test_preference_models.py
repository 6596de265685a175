"""Preference models of several backends in one run: who is trained by whom, what is trained again, and scored as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import Prompt, ScoreMatrix, UserError, load_run, make_prompt
from morlaif_core.config.load import load_config
from morlaif_core.config.pm_groups import pm_groups
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.stages.preference_models import Mixed
from tests.helpers.small_run import PRINCIPLES, small

PROBED = "principles.conciseness.preference_model=probe"
PROMPTS = [make_prompt(text) for text in ("How are you?", "What is a fern?", "Who was Ada?")]


def trained_at(run: Path) -> dict[str, int]:
    return {name: (run / "preference_models" / name / "done.json").stat().st_mtime_ns for name in PRINCIPLES}


@pytest.fixture(scope="module")
def mixed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run after one of its principles got a backend of its own."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("mixed") / "run"))
    small(run, PROBED)
    return run


def test_a_principles_own_backend_trains_that_principle_alone(finished: Path, mixed: Path) -> None:
    before, after = trained_at(finished), trained_at(mixed)
    assert [name for name in PRINCIPLES if before[name] != after[name]] == ["conciseness"]
    backends = {
        name: json.loads((mixed / "preference_models" / name / "done.json").read_text())["backend"]
        for name in PRINCIPLES
    }
    assert backends == {"helpfulness": "full", "conciseness": "probe", "detail": "full"}
    assert tuple(load_run(mixed).results["preference_models"]) == PRINCIPLES


def test_columns_stand_in_the_runs_order_and_are_those_of_each_backend_alone(finished: Path, mixed: Path) -> None:
    responses = ["I am well.", "A plant with fronds.", "She wrote the first program."]
    both, alone = (load_run(run).reward()(PROMPTS, responses).raw for run in (mixed, finished))
    assert both is not None
    assert alone is not None
    assert both.principles == alone.principles == PRINCIPLES
    same = [np.array_equal(one, other) for one, other in zip(both.values.T, alone.values.T, strict=True)]
    assert same == [True, False, True]


def test_the_run_goes_on_from_its_own_run_yaml_and_going_back_keeps_the_others(mixed: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(mixed, tmp_path / "run"))
    before = trained_at(run)
    said = "preference_model:\n      use: probe"
    assert said in (run / "run.yaml").read_text()
    from morlaif_core import run as run_pipeline

    run_pipeline(run, quiet=True)
    assert trained_at(run) == before
    small(run, until="train-pms")
    after = trained_at(run)
    assert [name for name in PRINCIPLES if before[name] != after[name]] == ["conciseness"]


def test_a_principle_that_says_what_the_run_says_is_trained_with_the_others(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    same = "{use: full, learning_rate: 0.001, epochs: 1, batch: 8, minibatch: 4}"
    small(run, f"principles.detail.preference_model={same}", until="train-pms")
    assert trained_at(run) == trained_at(finished)


def test_groups_are_by_meaning_and_by_base() -> None:
    sets = (
        "principles={a: {}, b: {preference_model: probe}, c: {preference_model: {use: probe, l2: auto}}, "
        "d: {preference_model: {use: lora}}, e: {preference_model: {use: probe, base: other/model}}}",
        *(f"principles.{name}.judge=human" for name in "abcde"),
        "dataset=hh-rlhf",
        "preference_model=lora",
    )
    groups = pm_groups(load_config(["demo"], sets))
    found = [(group.key, [item.name for item in group.principles]) for group in groups]
    assert found == [
        ("preference_model", ["a", "d"]),
        ("principles.b.preference_model", ["b", "c"]),
        ("principles.e.preference_model", ["e"]),
    ]
    assert groups[-1].base.model == "other/model"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("prob", r"principles\.detail\.preference_model\.use: there is no pm_backend 'prob'.* Did you mean 'probe'"),
        ("{use: probe, ltwo: 3}", r"principles\.detail\.preference_model\.ltwo"),
        ("{l2: 3}", r"principles\.detail\.preference_model\.use"),
        ("{use: probe, base: {model: gpt2, lora: {}}}", r"principles\.detail\.preference_model\.base: takes no lora"),
        (
            "{use: probe, base: {model: demo-base, revision: x}}",
            r"principles\.detail\.preference_model\.base\.revision",
        ),
        ("{use: probe, base: {model: {steps: 1}}}", r"principles\.detail\.preference_model\.base\.model.*use: NAME"),
    ],
)
def test_mistakes_name_the_principles_key(tmp_path: Path, own: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        small(tmp_path / "run", f"principles.detail.preference_model={own}")


class Fixed:
    """Scores each response by a number for each principle; with or without a spread."""

    def __init__(self, principles: tuple[str, ...], spread: float | None = None, *, turned: bool = False) -> None:
        self.principles, self.spread, self.turned = principles, spread, turned

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        values = np.array([[len(text) + len(name) for name in self.principles] for text in responses], dtype=np.float32)
        spread = None if self.spread is None else np.full_like(values, self.spread)
        ids = tuple(prompt.id for prompt in prompts)
        features = None if self.spread is None else np.full((len(ids), 2), self.spread, dtype=np.float32)
        return ScoreMatrix(values, self.principles, ids[::-1] if self.turned else ids, spread, features)


def test_spread_and_features_are_merged_where_given() -> None:
    plain = Mixed(("b", "ccc", "aa"), [Fixed(("ccc", "b")), Fixed(("aa",))]).score(PROMPTS, ["", "x", "yy"])
    assert plain.values.tolist() == [[1, 3, 2], [2, 4, 3], [3, 5, 4]]
    assert plain.spread is None
    assert plain.features is None
    found = Mixed(("b", "ccc", "aa"), [Fixed(("ccc", "b")), Fixed(("aa",), 0.5)]).score(PROMPTS, ["", "x", "yy"])
    assert found.spread is not None
    assert found.features is not None
    assert np.isnan(found.spread[:, :2]).all()
    assert (found.spread[:, 2] == 0.5).all()
    assert found.features.shape == (3, 2)


def test_a_backend_that_scores_other_rows_is_found() -> None:
    model = Mixed(("a", "b"), [Fixed(("a",)), Fixed(("b",), turned=True)])
    with pytest.raises(ScoreError, match="preference model of b scored other rows"):
        model.score(PROMPTS, ["", "x", "yy"])


def test_principles_that_are_trained_together_go_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from morlaif_pm import heads

    finish, heads_of = heads.finish, ("preference_model=heads", "preference_model.checkpoint_every=1")
    sets = (*heads_of, "preference_model.epochs=1", "preference_model.batch=8", "preference_model.minibatch=8")

    def killed(folder: Path, content: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(heads, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "run", *sets, until="train-pms")
    models = tmp_path / "run" / "preference_models"
    (kept,) = models.glob("*/checkpoint-*")
    monkeypatch.setattr(heads, "finish", finish)
    small(tmp_path / "run", *sets)
    assert not kept.exists()
    assert not (tmp_path / "run" / "replaced").exists(), "the same training went on"
    done = [json.loads((models / name / "done.json").read_text()) for name in PRINCIPLES]
    assert [one["output"] for one in done] == [0, 1, 2]
    assert {one["loss"] for one in done} == {None}, "no step was left to do"
    # Another principle set is another training of all of them, and the one before can be put back.
    small(tmp_path / "run", *sets, "principles=[detail, helpfulness]", until="train-pms")
    assert json.loads((models / "detail" / "done.json").read_text())["outputs"] == 2
    (moved,) = (tmp_path / "run" / "replaced").glob("*/preference_models")
    assert {path.name for path in moved.iterdir()} >= {"helpfulness", "detail", "calibration.json"}
