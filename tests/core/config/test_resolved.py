"""run.yaml says every option of every component, so that another version with other defaults does the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from morlaif_core import Component, Options, component
from morlaif_core.config.config import BLOCKS, Config
from morlaif_core.config.judge_settings import JudgeSettings
from morlaif_core.config.load import load_config
from morlaif_core.config.resolved import as_begun, resolved_values
from morlaif_core.config.shipped_files import shipped_examples
from morlaif_core.plugins.manager import Offer, Plugins
from morlaif_core.runs.stamps import stable


def again(values: Any, folder: Path, plugins: Plugins) -> Config:
    (folder / "run.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_config(["run.yaml"], plugins=plugins, folder=folder, alone=True)


@pytest.mark.parametrize("name", shipped_examples())
def test_no_option_is_left_to_defaults(name: str, tmp_path: Path, plugins: Plugins) -> None:
    config = load_config([name], plugins=plugins, folder=tmp_path)
    values = resolved_values(config)
    for key, kind in BLOCKS.items():
        assert set(plugins.find(kind, values[key]["use"]).options.model_fields) <= set(values[key]), key
    for judge, block in config.settings.judges.items():
        if isinstance(block, JudgeSettings):
            known = plugins.find("feedback_provider", block.use).options.model_fields
            assert set(known) <= set(values["judges"][judge]), judge
    model = values["target"]["model"]
    if isinstance(model, dict):
        assert set(plugins.find("model", model["use"]).options.model_fields) <= set(model)


@pytest.mark.parametrize("name", shipped_examples())
def test_what_is_written_out_is_the_same_run(name: str, tmp_path: Path, plugins: Plugins) -> None:
    config = load_config([name], plugins=plugins, folder=tmp_path)
    values = resolved_values(config)
    found = again(values, tmp_path, plugins)
    assert resolved_values(found) == values
    assert list(resolved_values(found)["trainer"]) == list(values["trainer"])
    for key, kind in BLOCKS.items():
        assert stable(plugins.options(kind, found.block(key))) == stable(plugins.options(kind, config.block(key)))


def test_a_later_version_with_other_defaults_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = Plugins.load()
    config = load_config(["demo"], plugins=plugins, folder=tmp_path)
    values = resolved_values(config)
    steps = plugins.options("policy_trainer", config.block("trainer")).model_dump()

    class Later(plugins.find("policy_trainer", "ppo").options):  # type: ignore[misc]
        clip: float = Field(0.9, description="another default")
        lam: float = Field(0.5, description="another default")

    offers = plugins.offers_by_kind["policy_trainer"]
    place = next(place for place, offer in enumerate(offers) if offer.component.name == "ppo")
    offers[place] = dataclasses.replace(
        offers[place], component=dataclasses.replace(offers[place].component, options=Later)
    )
    found = again(values, tmp_path, plugins)
    assert plugins.options("policy_trainer", found.block("trainer")).model_dump() == steps
    other = load_config(["demo"], plugins=plugins, folder=tmp_path)
    assert plugins.options("policy_trainer", other.block("trainer")).model_dump() != steps


def test_a_models_block_stays_as_the_run_began_with_it(tmp_path: Path, plugins: Plugins) -> None:
    given = load_config(["demo"], ["target.model={use: demo-base, steps: 10, layers: 2}"], plugins=plugins)
    began = {"target": {"asked": [given.settings.target.model, None]}}
    found = again(resolved_values(given), tmp_path, plugins)
    assert found.settings.target.model != given.settings.target.model
    assert as_begun(found, began).settings.target.model == given.settings.target.model
    other = load_config(["demo"], ["target.model={use: demo-base, steps: 11, layers: 2}"], plugins=plugins)
    assert as_begun(other, began).settings.target.model == other.settings.target.model


def test_a_judges_model_is_written_out_and_known_again(tmp_path: Path, plugins: Plugins) -> None:
    sets = ["judges.here={use: transformers, model: demo-base}", "judge=here", "principles=[politeness]"]
    given = load_config(["demo"], sets, plugins=plugins, folder=tmp_path)
    values = resolved_values(given)
    assert values["judges"]["here"]["model"]["use"] == "demo-base"
    assert values["judges"]["here"]["model"]["layers"] == 2
    found = as_begun(again(values, tmp_path, plugins), {"judges.here": {"asked": ["demo-base", None]}})
    assert found.judge_block("here")["model"] == "demo-base"


def test_a_judge_whose_plugin_is_gone_is_left_as_it_is_written(tmp_path: Path) -> None:
    plugins = Plugins.load()
    config = load_config(["demo"], ["judges.lost={use: rules}"], plugins=plugins, folder=tmp_path)
    plugins.offers_by_kind["feedback_provider"].clear()
    assert as_begun(config, {}).settings.judges == config.settings.judges


def test_options_that_json_does_not_give_back_stay_as_they_were_given(tmp_path: Path) -> None:
    class Odd(Options):
        steps: int = Field(1, description="steps")
        sealed: bytes = Field(b"\xff", description="no JSON")

    plugins = Plugins.load()
    odd: Component[Any] = component("odd", lambda _: None, Odd, "a stranger's")
    plugins.offers_by_kind["policy_trainer"].append(Offer("odd", "odd", "1", "policy_trainer", odd))
    config = load_config(["demo"], ["trainer={use: odd, steps: 3}"], plugins=plugins, folder=tmp_path)
    found = resolved_values(config)["trainer"]
    assert {name: found[name] for name in found if not name.startswith("rollouts")} == {"use": "odd", "steps": 3}
