"""A judge's own model: named as every model is, checked before a run, shared with the run, known again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from morlaif_core import Target, UserError, build, judge_model, missing_judge_model
from morlaif_core.config.config import Config
from morlaif_core.config.load import load_config
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.models.judge_model import judge_models_of
from morlaif_core.models.resolve import ResolvedModel, folder_fingerprint
from morlaif_core.readiness import needed_before_run
from tests.helpers.small_run import small
from tests.helpers.tiny_models import save_tiny

JUDGE = "judges.mine={use: transformers, model: %s, judging: {min_label_mass: 0}}"
ALL = ("principles=[detail]", "judge=mine")


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def with_judge(model: str, *more: str) -> Config:
    return load_config(["demo"], (JUDGE % model, *ALL, *more))


# Outside a run


def test_a_folder(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "judge", "llama")
    model = judge_model(Target(model=str(folder)))
    assert (model.name, model.fingerprint) == ("judge", folder_fingerprint(folder))
    assert model.target == Target(model=str(folder), dtype="float32")
    assert len(model.tokenizer()) == 300
    assert model.load() is model.load(), "one copy in memory"


def test_an_offered_model_that_learns_needs_a_run() -> None:
    with pytest.raises(UserError, match="give a model folder"):
        judge_model(Target(model="demo-base"))


@pytest.mark.usefixtures("_no_hub")
def test_a_hub_model_that_cannot_be_had() -> None:
    with pytest.raises(UserError, match="the hub does not give it"):
        judge_model(Target(model="someone/some-model"))


def test_only_the_hubs_models_have_revisions(tmp_path: Path) -> None:
    for model in (str(save_tiny(tmp_path, "llama")), "smollm2", {"use": "smollm2"}):
        for ask in (judge_model, missing_judge_model):
            with pytest.raises(UserError, match="only the hub's models have revisions"):
                ask(Target(model=model, revision="main"))


# In a run


def test_a_run_lends_its_models_to_judges_built_in_it(tmp_path: Path) -> None:
    folder = str(save_tiny(tmp_path / "judge", "llama"))
    backbones = LocalBackbones(device="cpu", threads=1)
    asked: list[Target] = []

    def resolve(target: Target) -> ResolvedModel:
        asked.append(target)
        return ResolvedModel(target.model_copy(update={"model": folder, "revision": None}), "f" * 16, "hub")

    with judge_models_of(resolve, backbones):
        judge = build("feedback_provider", "transformers", model="someone/some-model", revision="v2", dtype="bfloat16")
    assert asked == [Target(model="someone/some-model", revision="v2", dtype="bfloat16")]
    assert judge.identity.startswith(f"transformers:someone/some-model@{'f' * 16} bfloat16 plain-")
    assert judge.model.load() is backbones.get(Target(model=folder, dtype="bfloat16"))
    with pytest.raises(UserError):
        build("feedback_provider", "transformers", model="someone/some-model", template="chat")


def test_a_run_judged_by_a_local_model(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "judge", "llama", positions=2048)
    judged = (JUDGE % folder, "principles.helpfulness.judge=mine", "principles.detail.judge=mine")
    done = small(tmp_path / "run", *judged, "threads=1", until="judge")
    assert done.manifest["models"]["judges.mine"]["fingerprint"] == folder_fingerprint(folder)
    columns = "model, status, tokens_in, tokens_cached"
    with sqlite3.connect(tmp_path / "run/judgements.sqlite") as ledger:
        rows = ledger.execute(f"SELECT {columns} FROM rows WHERE judge = 'mine'").fetchall()
    labelled = done.results["judge"]["detail"]["n"]
    assert len(rows) == 2 * 2 * labelled
    assert {status for _, status, _, _ in rows} == {"ok"}
    assert {model.partition("@")[0] for model, _, _, _ in rows} == {"transformers:judge"}
    # Both principles of a pair in one order stand in one batch: the second finds what the first has read.
    assert sum(cached for *_, cached in rows) > 0.4 * sum(read for _, _, read, _ in rows)

    save_tiny(folder, "llama", positions=2048, seed=1)
    with pytest.raises(UserError, match=r"judges.mine.model: .* is not the model that this run began with"):
        small(tmp_path / "run", *judged, "threads=1", until="judge")


def test_a_finished_judge_stage_loads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny(tmp_path / "judge", "llama", positions=2048)
    judged = (JUDGE % folder, "principles.detail.judge=mine", f"judging.ledger={tmp_path / 'shared.sqlite'}")
    first = small(tmp_path / "one", *judged, until="judge").preferences("detail")
    (tmp_path / "one/preferences.jsonl").unlink()

    def load(self: LocalBackbones, target: Target, *, own: bool = False) -> None:
        raise AssertionError(f"{target.model} is loaded, but every answer is in the ledger")

    monkeypatch.setattr(LocalBackbones, "get", load)
    assert small(tmp_path / "one", *judged, until="judge").preferences("detail") == first


# Before a run


@pytest.mark.usefixtures("_no_hub")
def test_a_hub_model_that_is_missing_is_needed_before_a_run() -> None:
    (line,) = [line for line in needed_before_run(with_judge("someone/some-model")) if "some-model" in line]
    assert line.startswith("judges.mine: the hub model 'someone/some-model' is not in the local cache")
    assert "HF_HUB_OFFLINE forbids the hub" in line
    assert not needed_before_run(load_config(["demo"], (JUDGE % "someone/some-model",))), "it is not asked"
    quantized = with_judge("someone/some-model", "judges.mine.quantize=4bit")
    assert any("bitsandbytes" in line for line in needed_before_run(quantized))


@pytest.mark.usefixtures("_no_hub")
def test_the_shipped_local_judge_is_a_gated_hub_model() -> None:
    config = load_config(["demo"], ("principles=[detail]", "judge=local"))
    assert config.judge_block("local") == {"use": "transformers", "model": "meta-llama/Llama-3.1-8B-Instruct"}
    assert any("meta-llama/Llama-3.1-8B-Instruct" in line for line in needed_before_run(config))


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("./nowhere", "no model folder ./nowhere"),
        ("{use: smollm2, colour: red}", "colour"),
        ("{a: 1}", "needs the key use"),
    ],
)
def test_a_model_named_wrongly_is_told_by_check(model: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        needed_before_run(with_judge(model))


def test_a_folder_beside_the_configuration_is_found(tmp_path: Path) -> None:
    save_tiny(tmp_path / "configs/llama", "llama")
    (tmp_path / "configs/mine.yaml").write_text(
        "judges: {mine: {use: transformers, model: llama}}\nprinciples: [detail]\njudge: mine\n"
    )
    config = load_config(["demo", "configs/mine.yaml"], folder=tmp_path)
    assert config.judge_block("mine")["model"] == str(tmp_path / "configs/llama")
    assert needed_before_run(config) == []
    # A model's name at a server is no folder, whatever lies there.
    served = load_config(["demo"], ("judges.mine={use: openai, model: llama}",), folder=tmp_path / "configs")
    assert served.judge_block("mine")["model"] == "llama"
