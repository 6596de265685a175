"""Keys set to null: their value where that is one, else their default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.config.config import BLOCKS
from morlaif_core.plugins.components import accepts
from morlaif_core.plugins.manager import Offer, Plugins
from tests.helpers.configurations import reloaded


def block_path(offer: Offer) -> str:
    """Where a configuration names a component of this kind."""
    keys = {kind: key for key, kind in BLOCKS.items()}
    return keys.get(offer.kind, "target.model" if offer.kind == "model" else "judges.other")


NULLABLE = [
    pytest.param(offer, name, id=f"{offer.kind}/{offer.component.name}.{name}")
    for offers in Plugins.load().offers_by_kind.values()
    for offer in offers
    for name, field in offer.component.options.model_fields.items()
    if accepts(field.annotation, type(None)) and not field.is_required() and field.get_default() is not None
]
REQUIRED = {"openai": "model: m, ", "anthropic": "model: m, "}


def test_options_that_null_is_a_value_of_are_found() -> None:
    found = {parameter.id for parameter in NULLABLE}
    assert found >= {"feedback_provider/openai.api_key", "feedback_provider/anthropic.api_key"}
    assert found >= {"pm_backend/full.checkpoint_every", "pm_backend/lora.checkpoint_every"}


@pytest.mark.parametrize(("offer", "name"), NULLABLE)
def test_null_is_kept_where_it_is_a_value(load: Any, tmp_path: Path, plugins: Plugins, offer: Offer, name: str) -> None:
    path, component = block_path(offer), offer.component
    default = component.options.model_fields[name].get_default()
    required = REQUIRED.get(component.name, "")
    base = f"{path}={{use: {component.name}, {required}{name}: {json.dumps(default)}}}"
    config = load("", base, f"{path}.{name}=null")
    block = config.judge_block("other") if path.startswith("judges") else config.block(path)
    assert block[name] is None
    assert getattr(plugins.options(offer.kind, block), name) is None
    assert config.layers.origin((*path.split("."), name)) == f"--set {path}.{name}"
    assert reloaded(config, tmp_path, plugins) == config.settings


def test_null_is_the_default_where_it_is_no_value(load: Any, tmp_path: Path, plugins: Plugins) -> None:
    text = (
        "seed: 3\nprompts: {pm: 40, rl: 7}\nseeds: {judge: 3}\ntrainer: {steps: 3}\ngeneration: {temperature: 2.0}\n"
        "target: {model: {use: demo-base, steps: 3}, lora: {r: 4}}\njudging: {ledger: x.sqlite}\n"
        "principles: {relevance: {weight: 2, threshold: 1.0}, politeness: }\n"
        "judges: {rules: {judging: {ledger: y.sqlite, concurrency: 3}}, gpt-35: }\n"
    )
    keys = ["seed", "prompts.pm", "prompts.rl", "seeds.judge", "trainer.steps", "generation", "target.model.steps"]
    keys += ["target.lora", "judges.rules.judging.concurrency", "judges.rules.judging.ledger"]
    keys += ["principles.relevance.weight", "principles.relevance.threshold", "judges.gpt_35"]
    config = load(text, *(f"{key}=null" for key in keys))
    settings = config.settings
    assert (settings.seed, settings.prompts.pm, settings.prompts.rl, settings.seeds) == (0, 2000, None, {})
    assert "steps" not in config.block("trainer")
    assert settings.generation.temperature == 0.7
    assert settings.target.model == {"use": "demo-base"}
    assert settings.target.lora is None
    assert (settings.principles["relevance"].weight, settings.principles["relevance"].threshold) == (1, 0)
    assert "rules" in settings.judges
    assert "gpt-35" not in settings.judges
    judging = settings.judging_of("rules")
    assert (judging.concurrency, judging.ledger) == (16, None), "null is a ledger's value: the run's own"
    assert config.layers.origin(("seed",)) == "default"
    assert config.layers.origin(("prompts", "rl")) == "--set prompts.rl"
    assert reloaded(config, tmp_path, plugins) == settings
