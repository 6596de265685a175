"""A run's configuration: layers of YAML, validated, every value with its origin; errors say file and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .bundle import bundle, shipped_examples
from .errors import UserError, did_you_mean
from .explain import explain_each
from .layering import Layers, in_order
from .model_keys import check_revisions, name_folders
from .nulls import not_taken
from .options import Options
from .plugins import Plugins, check_name
from .principles import Known, known_principles, pick_principles
from .settings import HUMAN_JUDGE, Judging, Settings, Use
from .types import Principle
from .yaml_files import read_yaml

BLOCKS = {
    "dataset": "dataset",
    "sampler": "sampler",
    "preference_model": "pm_backend",
    "scalarizer": "scalarizer",
    "trainer": "policy_trainer",
}
"""Blocks with ``use``, and the kind of component that each names."""


@dataclass(frozen=True)
class Config:
    """A validated configuration with what it refers to."""

    name: str
    settings: Settings
    principles: tuple[Principle, ...]
    """the active ones, in their order"""
    plugins: Plugins
    layers: Layers = field(repr=False)

    def block(self, key: str) -> dict[str, Any]:
        """A component's block as ``{"use": name, **options}``: the core's own keys taken out."""
        return block_of(getattr(self.settings, key))

    def judge_block(self, judge: str) -> dict[str, Any]:
        """The provider's block of a judge."""
        return block_of(self.settings.judges[judge])


def block_of(use: Use) -> dict[str, Any]:
    """A block without the core's own keys."""
    return {"use": use.use, **use.component_options}


def load_config(
    configs: Sequence[str],
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    folder: Path | None = None,
    known: dict[str, Known] | None = None,
    *,
    alone: bool = False,
) -> Config:
    """Layer shipped < ./registry.yaml < CONFIG files < overrides < ``--set``, and validate. Raises `UserError`.

    known: the principles there are, in place of the shipped, the plugins' and those in ``./principles/``.
    alone: the CONFIG files are complete (a run's own run.yaml); no registry.yaml lies below them.
    """
    folder = folder or Path.cwd()
    layers = Layers()
    shipped = bundle("registry.yaml")
    local = folder / "registry.yaml"
    if not alone:
        _add_file(layers, shipped, "shipped registry.yaml")
    if not alone and local.is_file() and not (isinstance(shipped, Path) and shipped.resolve() == local.resolve()):
        _add_file(layers, local, "registry.yaml")
    for name in configs:
        _add_file(layers, *find_config(name, folder))
    for key, value in (overrides or {}).items():
        layers.add({key: value}, "overrides", folder)
    for text in in_order(sets):
        layers.add_set(text, folder)
    plugins = plugins or Plugins.load()
    name_folders(layers, plugins)
    _drop_nulls(layers, plugins)
    known = known if known is not None else known_principles(plugins, folder)
    return _validated("+".join(_stem(name) for name in configs) or "run", layers, plugins, known)


def find_config(name: str, folder: Path) -> tuple[Traversable, str]:
    """A configuration file, or a shipped one by name, with its label."""
    file = folder / Path(name).expanduser()
    if file.is_file():
        return file, name
    examples = shipped_examples()
    if name in examples:
        return examples[name], f"shipped {name}.yaml"
    raise UserError(
        f"there is no configuration '{name}': neither a file nor a shipped name.{did_you_mean(name, list(examples))} "
        f"Shipped: {', '.join(examples)}"
    )


def _add_file(layers: Layers, file: Traversable, label: str) -> None:
    data = read_yaml(file, label)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UserError(f"{label}: a configuration is a mapping of keys, not {type(data).__name__}")
    layers.add(data, label, file.parent if isinstance(file, Path) else None)


def _stem(name: str) -> str:
    return Path(name).name.removesuffix(".yaml").removesuffix(".yml")


def _drop_nulls(layers: Layers, plugins: Plugins) -> None:
    """Take out each null that its key does not have as a value: the default holds there."""
    models: list[tuple[tuple[str, ...], type[Any]]] = [((), Settings)]
    blocks: list[tuple[tuple[str, ...], str]] = [((key,), kind) for key, kind in BLOCKS.items()]
    blocks += [(("target", "model"), "model"), (("preference_model", "base", "model"), "model")]
    judges = layers.values.get("judges")
    for judge in judges if isinstance(judges, dict) else ():
        blocks.append((("judges", judge), "feedback_provider"))
        models.append((("judges", judge, "judging"), Judging))
    for path, kind in blocks:
        block = layers.at(path)
        use = block.get("use") if isinstance(block, dict) else None
        if isinstance(use, str):
            with suppress(UserError):  # an unknown name is told where the block is checked
                models.append((path, plugins.find(kind, use).options))
    for path, model in models:
        values = layers.at(path)
        for keys in list(not_taken(values, model)) if isinstance(values, dict) else ():
            layers.drop((*path, *keys))


def _validated(name: str, layers: Layers, plugins: Plugins, known: dict[str, Known]) -> Config:
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise UserError(_with_origins(error, Settings, layers)) from None
    settings = _with_known_judges(settings, layers)
    principles = pick_principles(settings.principles, known)
    # Names may be written with - or _; from here on a principle has the name of its file.
    terms = dict(zip((item.name for item in principles), settings.principles.values(), strict=True))
    if len(terms) < len(principles):
        raise UserError("principles: one principle is named twice (- and _ are the same)")
    config = Config(name, settings.model_copy(update={"principles": terms}), principles, plugins, layers)
    _check_blocks(config)
    _check_judges(config)
    _check_needs(config)
    return config


def _with_origins(error: ValidationError, model: type[Any], layers: Layers, at: tuple[str, ...] = ()) -> str:
    """One line a mistake: the key, what is wrong, and the layer to mend."""
    lines = []
    for path, line in explain_each(error, model, ".".join(at)):
        origin = layers.nearest((*at, *(str(part) for part in path)))
        lines.append(line if origin == "default" else f"{line} [{origin}]")
    return "\n".join(dict.fromkeys(lines))


def _with_known_judges(settings: Settings, layers: Layers) -> Settings:
    """Check the judges' names, and spell every mention of one as it is defined. Raises `UserError`."""
    spelled = {}
    for name in settings.judges:
        try:
            spelled[check_name(name)] = name
        except ValueError as error:
            raise UserError(f"judges.{name}: {error} [{layers.nearest(('judges', name))}]") from None
    if HUMAN_JUDGE in spelled:
        origin = layers.nearest(("judges", HUMAN_JUDGE))
        raise UserError(f"judges.{HUMAN_JUDGE}: the name is reserved for the data set's own labels [{origin}]")

    def known(name: str | None) -> str | None:
        return None if name is None else spelled.get(name.replace("-", "_"), name)

    terms = {name: item.model_copy(update={"judge": known(item.judge)}) for name, item in settings.principles.items()}
    evaluation = settings.evaluation.model_copy(update={"judge": known(settings.evaluation.judge)})
    return settings.model_copy(update={"judge": known(settings.judge), "principles": terms, "evaluation": evaluation})


def _check_blocks(config: Config) -> None:
    """Validate every component's options."""
    for key, kind in BLOCKS.items():
        _options(config, kind, config.block(key), (key,))
    for judge in config.settings.judges:
        _options(config, "feedback_provider", config.judge_block(judge), ("judges", judge))
        try:
            config.settings.judging_of(judge)
        except ValidationError as error:
            at = ("judges", judge, "judging")
            raise UserError(_with_origins(error, type(config.settings.judging), config.layers, at)) from None
    for key, target in (("target", config.settings.target), ("preference_model.base", config.settings.pm_base)):
        if isinstance(target.model, dict):
            if "use" not in target.model:
                raise UserError(f"{key}.model: a mapping must say `use: NAME`, the name of an offered model")
            _options(config, "model", dict(target.model), (*key.split("."), "model"))
    check_revisions(config.settings.target, config.settings.preference_model.base, config.layers, config.plugins)


def _options(config: Config, kind: str, block: dict[str, Any], path: tuple[str, ...]) -> Options:
    """Validate one component's options. Raises `UserError` naming the key and the layer that gave it."""
    try:
        component = config.plugins.find(kind, str(block["use"]))
    except UserError as error:
        raise UserError(f"{'.'.join(path)}.use: {error} [{config.layers.nearest((*path, 'use'))}]") from None
    try:
        return component.options.model_validate({key: value for key, value in block.items() if key != "use"})
    except ValidationError as error:
        raise UserError(_with_origins(error, component.options, config.layers, path)) from None


def _check_judges(config: Config) -> None:
    """Every active principle has a judge that can measure it."""
    settings = config.settings
    _check_known(config, settings.judge, "judge")
    if settings.evaluation.judge:
        _check_askable(config, settings.evaluation.judge, "evaluation.judge")
    labels = "labels" in config.plugins.find("dataset", settings.dataset.use).supplies
    if settings.pairs.source == "dataset" and not labels:
        origin = config.layers.nearest(("pairs", "source"))
        raise UserError(
            f"pairs.source: the data set '{settings.dataset.use}' has no responses of its own; "
            f"say pairs.source=sampled [{origin}]"
        )
    for principle in config.principles:
        judge = settings.judge_of(principle.name)
        path = f"principles.{principle.name}.judge" if settings.principles[principle.name].judge else "judge"
        if judge == HUMAN_JUDGE:
            if not labels:
                raise UserError(f"{path}: human: the data set '{settings.dataset.use}' has no human labels")
            continue
        _check_judge(config, judge, principle, path)
        if settings.evaluation.judge:
            _check_judge(config, settings.evaluation.judge, principle, "evaluation.judge")
    if not any(terms.weight > 0 for terms in settings.principles.values()):
        raise UserError("principles: none has a weight above 0, so there is no reward; add one, or set a weight")


def _check_known(config: Config, judge: str, path: str) -> None:
    known = [*config.settings.judges, HUMAN_JUDGE]
    if judge not in known:
        origin = config.layers.nearest(tuple(path.split(".")))
        raise UserError(
            f"{path}: there is no judge '{judge}'.{did_you_mean(judge, known)} Judges: {', '.join(known)} [{origin}]"
        )


def _check_askable(config: Config, judge: str, path: str) -> None:
    _check_known(config, judge, path)
    if judge == HUMAN_JUDGE:
        raise UserError(f"{path}: human labels are of the data set's responses; name a judge that can be asked")


def _check_judge(config: Config, judge: str, principle: Principle, path: str) -> None:
    _check_askable(config, judge, path)
    block = config.judge_block(judge)
    component = config.plugins.find("feedback_provider", block["use"])
    reason = component.refuses and component.refuses(config.plugins.options("feedback_provider", block), principle)
    if reason:
        raise UserError(f"{path}: judge '{judge}' refuses it: {reason}")


def _check_needs(config: Config) -> None:
    """A scalarizer gets what it needs from trainer or preference models, or the run does not start."""
    find = config.plugins.find
    scalarizer = find("scalarizer", config.settings.scalarizer.use)
    trainer = find("policy_trainer", config.settings.trainer.use)
    backend = find("pm_backend", config.settings.preference_model.use)
    lacking = scalarizer.needs - trainer.supplies - backend.supplies
    if lacking:
        raise UserError(
            f"scalarizer.use: '{scalarizer.name}' needs {', '.join(sorted(lacking))}, which neither trainer "
            f"'{trainer.name}' nor preference model '{backend.name}' supplies; choose another"
        )
