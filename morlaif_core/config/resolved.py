"""A configuration with every option of every component, as run.yaml keeps it; and a model's block as a run began with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from morlaif_core.plugins.components import Options, Target
from morlaif_core.plugins.manager import Plugins

from .config import BLOCKS, Config
from .judge_settings import JudgeSettings, Use
from .settings import PreferenceModelSettings, Settings

ModelName = str | dict[str, object]
"""What stands under a key ``model``: an offered name, ``{use: NAME, …}``, a folder, a hub id."""


def resolved_values(config: Config) -> dict[str, Any]:
    """Return all settings as JSON, those that nobody set too: another version with other defaults gives the same run."""
    settings, plugins = _with_models(config, lambda _, model: _whole_model(model, config.plugins)), config.plugins
    values = settings.model_dump(mode="json")
    for key, kind in BLOCKS.items():
        values[key] = _whole_block(getattr(settings, key), values[key], kind, plugins)
    for name, own in settings.own_preference_models().items():
        terms = values["principles"][name]
        terms["preference_model"] = _whole_block(own, terms["preference_model"], "pm_backend", plugins)
    for name, judge in settings.judges.items():
        if isinstance(judge, JudgeSettings):
            values["judges"][name] = _whole_block(judge, values["judges"][name], "feedback_provider", plugins)
    return values


def as_begun(config: Config, models: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return the configuration with its models written as the run began with them, where they are the same models.

    A fingerprint counts a model's block as it is written, and run.yaml writes it out. models: the manifest's, by key.
    """

    def begun(where: str, model: ModelName) -> ModelName:
        # The preference models' base has no entry where it is the target's.
        known = [models[key]["asked"][0] for key in dict.fromkeys((where, *models)) if key in models]
        same = (other for other in known if _counted(other, config.plugins) == _counted(model, config.plugins))
        return next(same, model)

    return replace(config, settings=_with_models(config, begun))


def _with_models(config: Config, write: Callable[[str, ModelName], ModelName]) -> Settings:
    """The settings with each model written by ``write(key, model)``."""
    settings = config.settings
    target = _written("target", settings.target, write)
    learner = _with_base("preference_model", settings.preference_model, write)
    principles = {**settings.principles}
    for name, own in settings.own_preference_models().items():
        where = f"principles.{name}.preference_model"
        principles[name] = principles[name].model_copy(update={"preference_model": _with_base(where, own, write)})
    judges = {**settings.judges}
    for name, model in _judge_models(config):
        judges[name] = judges[name].model_copy(update={"model": write(f"judges.{name}", model)})
    changed = {"target": target, "preference_model": learner, "principles": principles, "judges": judges}
    return settings.model_copy(update=changed)


def _with_base(
    where: str, learner: PreferenceModelSettings, write: Callable[[str, ModelName], ModelName]
) -> PreferenceModelSettings:
    base = learner.base
    return learner if base is None else learner.model_copy(update={"base": _written(f"{where}.base", base, write)})


def _written(where: str, target: Target, write: Callable[[str, ModelName], ModelName]) -> Target:
    return target.model_copy(update={"model": write(where, target.model)})


def _judge_models(config: Config) -> Iterator[tuple[str, ModelName]]:
    """The judges whose model is loaded in this process, as the target is, with that model."""
    for name, judge in config.settings.judges.items():
        # The plugin of a judge may be gone: what a finished run scores and answers needs no judge.
        if isinstance(judge, JudgeSettings) and config.plugins.offers("feedback_provider", judge.use):
            field = config.plugins.find("feedback_provider", judge.use).options.model_fields.get("model")
            takes_one = field is not None and field.annotation == Target.model_fields["model"].annotation
            if takes_one and "model" in judge.component_options:
                yield name, judge.component_options["model"]


def _whole_block(chosen: Use, dumped: Mapping[str, Any], kind: str, plugins: Plugins) -> dict[str, Any]:
    """A block's own keys, then the component's options, in the order in which they are defined."""
    own = {name: dumped[name] for name in type(chosen).model_fields if name in dumped}
    return {**own, **_whole(plugins.options(kind, chosen.block), chosen.component_options)}


def _whole_model(model: ModelName, plugins: Plugins) -> ModelName:
    block = _model_block(model, plugins)
    if block is None:
        return model
    given = {key: value for key, value in block.items() if key != "use"}
    return {"use": block["use"], **_whole(plugins.options("model", block), given)}


def _whole(options: Options, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options as JSON; as given where another package's options do not come back from that."""
    try:
        values = options.model_dump(mode="json", by_alias=True)
        if type(options).model_validate(values) == options:
            return values
    except (ValidationError, ValueError, TypeError):
        pass
    return dict(given)


def _counted(model: ModelName, plugins: Plugins) -> Any:
    """What two ways to write one model have in common."""
    block = _model_block(model, plugins)
    return model if block is None else (plugins.find("model", str(block["use"])), plugins.options("model", block))


def _model_block(model: ModelName, plugins: Plugins) -> dict[str, object] | None:
    """``{use: NAME, …}`` of an offered model, None for a folder or hub id."""
    block: dict[str, object] = model if isinstance(model, dict) else {"use": model}
    return block if isinstance(block.get("use"), str) and plugins.offers("model", str(block["use"])) else None
