"""Preference models of several backends in one run: who is trained by whom, what is trained again, and scored as one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from morlaif_core import Lora, Prompt, ScoreMatrix, Target, UserError, load_run, lora_config, make_prompt
from morlaif_core.config.load import load_config
from morlaif_core.config.pm_groups import pm_groups
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.reward.score_checks import ScoreError
from morlaif_core.runs.pace import Done
from morlaif_core.runs.progress import Bar, Screen
from morlaif_core.stages.scored_together import Ensemble, MemberBackbones, Mixed
from morlaif_core.testing import tiny_base
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


def test_models_trained_together_beside_the_runs_lie_in_a_folder_of_their_own(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    heads = "{use: heads, learning_rate: 0.001, epochs: %d, batch: 8, ensemble: 2}"

    def both(epochs: int) -> list[str]:
        return [f"principles.{name}.preference_model={heads % epochs}" for name in ("conciseness", "detail")]

    models = run / "preference_models"
    kept = trained_at(run)["helpfulness"]
    small(run, *both(1), until="train-pms")
    assert sorted(path.name for path in models.iterdir() if path.is_dir()) == ["conciseness+", "helpfulness"]
    assert sorted(path.name for path in (models / "conciseness+").iterdir() if path.is_dir()) == [
        "+2",
        "conciseness",
        "detail",
    ]
    small(run, *both(2), until="train-pms")
    gone = {path.relative_to(run / "replaced").parts[2:-1] for path in run.glob("replaced/*/**/done.json")}
    assert {("conciseness+", "conciseness"), ("conciseness+", "+2", "detail"), ("detail",)} <= gone
    reward_less = load_run(run).results["preference_models"]
    assert tuple(reward_less) == PRINCIPLES
    small(run, until="train-pms")
    assert not (models / "conciseness+").exists()
    assert trained_at(run)["helpfulness"] == kept


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


@given(
    hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(-5, 5)),
    hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(0, 2)),
    hnp.arrays(np.float64, (2, 3), elements=st.floats(-3, 3)),
    st.booleans(),
)
def test_an_ensembles_score_is_the_mean_and_its_spread_the_law_of_total_variance(
    values: Any, own: Any, levels: Any, some: bool
) -> None:
    prompts = [make_prompt(text) for text in "abcd"]
    ids = tuple(prompt.id for prompt in prompts)

    class Told:
        def __init__(self, member: int) -> None:
            self.member = member

        def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
            spread = own[self.member].astype(np.float32) if some and self.member else None
            return ScoreMatrix(values[self.member].astype(np.float32), ("x", "y"), ids, spread)

    found = Ensemble(("x", "y"), [Told(member) for member in range(3)], levels.tolist()).score(prompts, list("abcd"))
    level = values - levels.T[:, None, :]
    np.testing.assert_allclose(found.values, level.mean(axis=0), atol=1e-5)
    variance = ((level - level.mean(axis=0)) ** 2).sum(axis=0) / 2
    if some:
        variance = variance + (own[1] ** 2 + own[2] ** 2) / 3
    assert found.spread is not None
    np.testing.assert_allclose(found.spread, np.sqrt(variance), atol=1e-3)


def test_a_members_adapters_have_names_of_their_own() -> None:
    backbones = LocalBackbones("cpu", 1)
    target = Target(model=str(tiny_base()))
    first, second = backbones.get(target), MemberBackbones(backbones, 2).get(target)
    for backbone in (first, second):
        backbone.add("pm/calm", lora_config(backbone.model, Lora(r=2)))
    with first.use("pm/calm", grad=True) as model:
        for name, weight in model.named_parameters():
            if weight.requires_grad and "lora_B" in name:
                weight.data.fill_(1.0)
    ids = torch.tensor([[5, 6, 7]])
    logits = []
    for backbone in (first, second, second):
        with backbone.use("pm/calm" if len(logits) < 2 else None) as model:
            logits.append(model(input_ids=ids).logits)
    assert not torch.equal(logits[0], logits[1])
    assert torch.allclose(logits[1], logits[2]), "a fresh adapter changes nothing"
    assert second.tokenizer is first.tokenizer
    assert MemberBackbones(backbones, 2).device == backbones.device


ENSEMBLE = "preference_model.ensemble=3"


@pytest.fixture(scope="module")
def ensemble(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run after it got three models of each principle, and a scalarizer that reads their spread."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("ensemble") / "run"))
    small(run, ENSEMBLE, "scalarizer={use: uncertainty_weighted, ensemble: true}")
    return run


def test_an_ensemble_adds_members_to_the_model_that_is_there(finished: Path, ensemble: Path) -> None:
    assert trained_at(finished) == trained_at(ensemble), "the first member is the model of before"
    for member in ("+2", "+3"):
        for name in PRINCIPLES:
            assert (ensemble / "preference_models" / member / name / "done.json").exists()
    levels = json.loads((ensemble / "preference_models" / "ensemble.json").read_text())
    assert list(levels) == list(PRINCIPLES)
    assert all(len(set(row)) == 3 for row in levels.values()), "seeds differ"


def weights(run: Path) -> dict[str, str]:
    files = sorted((run / "preference_models").rglob("*.safetensors"))
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_an_ensemble_interrupted_again_and_again_is_that_of_a_run_that_was_not(
    finished: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reports = Path(shutil.copytree(finished, tmp_path / "run")), 0

    @contextmanager
    def bar(screen: Screen, label: str, unit: str = "") -> Iterator[Bar]:
        def advance(done: Done) -> None:
            nonlocal reports
            reports += 1
            if reports in (2, 7, 12):
                raise KeyboardInterrupt

        yield Bar(advance)

    monkeypatch.setattr(Screen, "bar", bar)
    struck = 0
    for _ in range(6):
        try:
            small(run, ENSEMBLE, until="train-pms")
            break
        except KeyboardInterrupt:
            struck += 1
    assert struck == 3
    assert weights(run) == weights(ensemble)
    levels = (run / "preference_models" / "ensemble.json").read_text()
    assert levels == (ensemble / "preference_models" / "ensemble.json").read_text()


def test_its_spread_reaches_the_scalarizer(ensemble: Path) -> None:
    reward = load_run(ensemble).reward()
    batch = reward(PROMPTS, ["I am well.", "A plant with fronds.", "She wrote the first program."])
    assert batch.scores.spread is not None
    assert (batch.scores.spread > 0).all()
    mean = batch.scores.values.mean(axis=1)
    lowered = mean - 0.5 * batch.scores.spread.mean(axis=1)
    assert np.corrcoef(batch.rewards, lowered)[0, 1] > 1 - 1e-6
    assert load_run(ensemble).results["policy"]["detail"]["pm_after"] is not None


def test_pessimism_trains_the_policy_again_and_lowers_what_is_uncertain(ensemble: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(ensemble, tmp_path / "run"))
    before = trained_at(run)
    small(run, ENSEMBLE, "reward.pessimism=1.0", until="train-policy")
    assert trained_at(run) == before
    batch = load_run(run).reward()(PROMPTS, ["I am well.", "A plant with fronds.", "She wrote the first program."])
    assert batch.scores.spread is not None
    clip = load_run(run).settings.reward.clip
    z = clip * np.arctanh(np.clip(batch.scores.values.astype(np.float64) / clip, -1 + 1e-7, 1 - 1e-7))
    lowered = (clip * np.tanh((z - batch.scores.spread) / clip)).mean(axis=1)
    assert np.corrcoef(batch.rewards, lowered)[0, 1] > 1 - 1e-6
    small(run, "reward.pessimism=0", until="train-pms")
    assert trained_at(run) == before, "without the ensemble its first member is the model"


def test_other_labels_replace_every_member(ensemble: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(ensemble, tmp_path / "run"))
    small(run, ENSEMBLE, "seeds={train_pms: 5}", until="train-pms")
    gone = {path.relative_to(run / "replaced").parts[1:] for path in run.glob("replaced/*/**/done.json")}
    assert ("preference_models", "+3", "detail", "done.json") in gone
    assert ("preference_models", "detail", "done.json") in gone


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["reward.pessimism=1"], r"reward\.pessimism: preference_model 'full' supplies no spread.*ensemble to 2"),
        (
            [ENSEMBLE, "reward.pessimism=1", "principles.detail.preference_model=probe"],
            r"reward\.pessimism: principles\.detail\.preference_model 'probe'",
        ),
        (
            [
                ENSEMBLE,
                "principles.detail.preference_model=probe",
                "scalarizer={use: uncertainty_weighted, ensemble: true}",
            ],
            r"needs spread, which neither .*principles\.detail\.preference_model 'probe'.*ensemble",
        ),
        (
            ["principles.detail.preference_model={use: direct, measure: richness, ensemble: 2}"],
            r"principles\.detail\.preference_model\.ensemble: the scores of 'direct' are given",
        ),
        (["preference_model.ensemble=0"], r"preference_model\.ensemble"),
        (["reward.pessimism=-1"], r"reward\.pessimism"),
        (
            [ENSEMBLE, "reward.pessimism=1", "trainer.value_heads=principles", "trainer.responses_per_prompt=1"],
            r"needs linear.*pessimism: 0",
        ),
    ],
)
def test_what_an_ensemble_or_pessimism_lacks_is_told(tmp_path: Path, sets: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        small(tmp_path / "run", *sets)
