"""A run's configuration: layers of YAML, validated, every value with its origin; errors say file and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.plugins.components import Component, Options, Target
from morlaif_core.plugins.manager import Plugins
from morlaif_core.plugins.option_errors import explain_each

from .config import BLOCKS, Config
from .judges import check_judges, with_known_judges
from .layers import LEARNER, Layers, in_order, with_absolute_paths
from .model_names import check_revisions, name_folders
from .nulls import drop_nulls
from .pm_groups import pm_groups
from .principles import Known, known_principles, pick_principles
from .settings import UNASKED, Settings
from .shipped_files import SHIPPED, bundle, shipped_examples
from .yaml_files import read_yaml

ConfigLike: TypeAlias = str | Path | Mapping[str, Any]
"""A configuration: a file, a shipped name, or a mapping of keys."""
ADVICE: dict[str, str] = {
    "spread": "preference_model.ensemble: 4 trains several models of each principle, whose deviation is one",
    "groups": "ppo supplies them with trainer.responses_per_prompt of 2 or more",
    "linear": "a step's reward is linear in its scores with reward.utility: expected, or with the scalarizer weighted, "
    "and with reward.pessimism: 0",
}
"""What to do about a need that nobody supplies; where nothing is said: choose another."""


def load_config(
    configs: Sequence[ConfigLike],
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    folder: Path | None = None,
    known: dict[str, Known] | None = None,
    *,
    alone: bool = False,
    checked: bool = True,
) -> Config:
    """Layer shipped < ./registry.yaml < CONFIG files < overrides < ``--set``, and validate. Raises `UserError`.

    configs, overrides: keys of mappings may have dots.
    known: the principles there are, in place of the shipped, the plugins' and those in ``./principles/``.
    alone: the CONFIG files are complete (a run's own run.yaml); no registry.yaml lies below them.
    checked: components are there and fit; False (a run that is opened): what is wrong with one is told when it is used.
    """
    folder = folder or Path.cwd()
    layers = Layers()
    shipped = bundle("registry.yaml")
    local = folder / "registry.yaml"
    if not alone:
        _add_file(layers, shipped, "shipped registry.yaml")
    # In a checkout ./registry.yaml is the shipped one: read twice, each value would have the wrong origin.
    if not alone and local.is_file() and not (isinstance(shipped, Path) and shipped.resolve() == local.resolve()):
        _add_file(layers, local, "registry.yaml")
    for given in configs:
        if isinstance(given, Mapping):
            layers.add_dotted(given, "CONFIG", folder)
        else:
            _add_file(layers, *find_config(str(given), folder), folder)
    layers.add_dotted(overrides or {}, "overrides", folder)
    for text in in_order(sets):
        layers.add_set(text, folder)
    plugins = plugins or Plugins.load()
    # Before validation, which no longer knows which layer, and so which folder, a name came from.
    name_folders(layers, plugins)
    drop_nulls(layers, plugins)
    known = known if known is not None else known_principles(plugins, folder)
    config = _validated(config_name(configs), layers, plugins, known)
    if checked:
        _check_components(config, known)
    return config


def find_config(name: str, folder: Path) -> tuple[Traversable, str]:
    """A configuration file, or a shipped one by name, with its label."""
    file = folder / Path(name).expanduser()
    if file.is_file():
        return file, name
    examples = shipped_examples()
    if name in examples:
        return examples[name], f"{SHIPPED}{name}.yaml"
    raise UserError(
        f"there is no configuration '{name}': neither a file nor a shipped name.{did_you_mean(name, list(examples))} "
        f"Shipped: {', '.join(examples)}"
    )


def _add_file(layers: Layers, file: Traversable, label: str, working: Path | None = None) -> None:
    """Put a file on top. working: the folder in which the user is, where a shipped configuration's data files lie."""
    data = read_yaml(file, label)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UserError(f"{label}: a configuration is a mapping of keys, not {type(data).__name__}")
    if working is not None and label.startswith(SHIPPED):
        data = with_absolute_paths(data, working)
    layers.add(data, label, file.parent if isinstance(file, Path) else None)


def config_name(configs: Sequence[ConfigLike]) -> str:
    """What CONFIGs are called together, and with them the folder of their run: ``demo+mine``; mappings have no name."""
    files = [Path(given).name for given in configs if not isinstance(given, Mapping)]
    return "+".join(name.removesuffix(".yaml").removesuffix(".yml") for name in files) or "run"


def _validated(name: str, layers: Layers, plugins: Plugins, known: dict[str, Known]) -> Config:
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise UserError(_with_origins(error, Settings, layers)) from None
    settings = with_known_judges(settings, layers)
    unasked = {name for name in settings.principles if settings.judge_of(name) in UNASKED}
    principles = pick_principles(settings.principles, known, unasked)
    # Names may be written with - or _; from here on a principle has the name of its file.
    terms = dict(zip((item.name for item in principles), settings.principles.values(), strict=True))
    if len(terms) < len(principles):
        raise UserError("principles: one principle is named twice (- and _ are the same)")
    config = Config(name, settings.model_copy(update={"principles": terms}), principles, plugins, layers)
    if not any(terms.weight > 0 for terms in config.settings.principles.values()):
        raise UserError("principles: none has a weight above 0, so there is no reward; add one, or set a weight")
    return config


def _check_components(config: Config, known: Mapping[str, Known]) -> None:
    """The components are there, their options hold, and they get what they need of each other. Raises `UserError`."""
    _check_blocks(config)
    check_judges(config)
    _check_labelled(config, known)
    _check_needs(config)


def _with_origins(error: ValidationError, model: type[Any], layers: Layers, at: tuple[str, ...] = ()) -> str:
    """One line a mistake: the key, what is wrong, and the layer to mend."""
    lines = []
    for path, line in explain_each(error, model, ".".join(at)):
        origin = layers.nearest((*at, *(str(part) for part in path)))
        lines.append(line if origin == "default" else f"{line} [{origin}]")
    return "\n".join(dict.fromkeys(lines))


def _check_blocks(config: Config) -> None:
    """Validate every component's options."""
    for key, kind in BLOCKS.items():
        _options(config, kind, config.block(key), (key,))
    for name, own in config.settings.own_preference_models().items():
        _options(config, "pm_backend", own.block, ("principles", name, LEARNER))
    for group in pm_groups(config):
        if group.members > 1 and not group.component.learns:
            raise UserError(
                f"{group.key}.ensemble: the scores of '{group.component.name}' are given, and the same from every member; "
                f"leave it out [{config.layers.nearest((*group.key.split('.'), 'ensemble'))}]"
            )
    for judge in config.settings.judges:
        if config.settings.members_of(judge):
            continue
        _options(config, "feedback_provider", config.judge_block(judge), ("judges", judge))
        try:
            config.settings.judging_of(judge)
        except ValidationError as error:
            at = ("judges", judge, "judging")
            raise UserError(_with_origins(error, type(config.settings.judging), config.layers, at)) from None
    targets = {path: target for path, target in _targets(config).items() if target is not None}
    for path, target in targets.items():
        if isinstance(target.model, dict):
            if "use" not in target.model:
                key = ".".join(path)
                raise UserError(f"{key}.model: a mapping must say `use: NAME`, the name of an offered model")
            _options(config, "model", dict(target.model), (*path, "model"))
    check_revisions(targets, config.layers, config.plugins)


def _targets(config: Config) -> dict[tuple[str, ...], Target | None]:
    """The target and the preference models' bases, by path."""
    settings = config.settings
    own = {name: block.base for name, block in settings.own_preference_models().items()}
    return {
        ("target",): settings.target,
        (LEARNER, "base"): settings.preference_model.base,
        **{("principles", name, LEARNER, "base"): base for name, base in own.items()},
    }


def _options(config: Config, kind: str, block: dict[str, Any], path: tuple[str, ...]) -> Options:
    """Validate one component's options. Raises `UserError` naming the key and the layer that gave it."""
    try:
        component = config.plugins.find(kind, str(block["use"]))
    except UserError as error:
        raise UserError(f"{'.'.join(path)}.use: {error} [{config.layers.nearest((*path, 'use'))}]") from None
    try:
        return component.options.model_validate({key: value for key, value in block.items() if key != "use"})
    except ValidationError as error:
        told = _with_origins(error, component.options, config.layers, path)
        raise UserError("\n".join([told, *_options_of_others(config, kind, error, path)])) from None


def _options_of_others(config: Config, kind: str, error: ValidationError, path: tuple[str, ...]) -> list[str]:
    """Name the components that have the keys which this one does not: ``dataset.path`` of a data set without files."""
    unknown = [str(item["loc"][0]) for item in error.errors() if item["type"] == "extra_forbidden"]
    lines = []
    for key in dict.fromkeys(unknown):
        offers = [offer.component for offer in config.plugins.offers_by_kind[kind]]
        having = sorted(offer.name for offer in offers if key in offer.options.model_fields)
        if having:
            where = ".".join(path)
            lines.append(
                f"{where}.{key} is an option of {', '.join(having)}: choose one, as by --set {where}.use={having[-1]}"
            )
    return lines


def _check_needs(config: Config) -> None:
    """Scalarizer, trainer and preference models get what they need of each other, or the run does not start."""
    parts: dict[str, tuple[Component[Any], Options]] = {}
    for key in ("scalarizer", "trainer"):
        kind, block = BLOCKS[key], config.block(key)
        parts[key] = config.plugins.find(kind, block["use"]), config.plugins.options(kind, block)
    rewarded = {name for name, terms in config.settings.principles.items() if terms.weight > 0}
    groups = [group for group in pm_groups(config) if rewarded.intersection(item.name for item in group.principles)]
    learners = {group.key: (group.component, group.options) for group in groups}
    parts |= learners
    supplies = {key: part.all_supplies(options) for key, (part, options) in parts.items()}
    supplies |= {group.key: group.supplies for group in groups}
    supplied = {need for found in supplies.values() for need in found}
    reward = config.settings.reward
    if reward.utility == "expected":
        supplied.add("linear")
    # Linear in the scores less what is taken off them, which a batch does not have.
    supplied -= {"linear"} if reward.pessimism > 0 else set()
    # Of every score that is scalarized, not of some.
    without = [group for group in groups if "spread" not in group.supplies]
    if 0 < len(without) < len(groups):
        supplied.discard("spread")
    if without and reward.pessimism > 0:
        first = without[0]
        advice = f"set {first.key}.ensemble to 2 or more, or leave" if first.component.learns else "leave"
        raise UserError(
            f"reward.pessimism: {first.key} '{first.component.name}' supplies no spread of its scores to take off; {advice} "
            f"pessimism at 0 [{config.layers.nearest(('reward', 'pessimism'))}]"
        )
    for key, (part, options) in parts.items():
        lacking = sorted(part.all_needs(options) - supplied)
        if lacking:
            silent = [other for other, found in supplies.items() if other != key and lacking[0] not in found]
            others = " nor ".join(f"{other} '{parts[other][0].name}'" for other in silent)
            advice = "; ".join(ADVICE[need] for need in lacking if need in ADVICE)
            raise UserError(
                f"{key}.use: '{part.name}' needs {', '.join(lacking)}, which neither {others} supplies as they are set; "
                f"{advice or 'choose another'} [{config.layers.nearest((*key.split('.'), 'use'))}]"
            )
    scalarizer, options = parts["scalarizer"]
    check_named(config, scalarizer.names(options) if scalarizer.names else ())


def _check_labelled(config: Config, known: Mapping[str, Known]) -> None:
    """The principles that the data set has labels of are known ones: a misspelt one would get the overall label, unseen."""
    block = config.block("dataset")
    component = config.plugins.find("dataset", block["use"])
    # The active ones too: one that people judge needs no file.
    canonical = {name.replace("-", "_") for name in (*known, *config.settings.principles)}
    for name in component.names(config.plugins.options("dataset", block)) if component.names else ():
        if name.replace("-", "_") not in canonical:
            raise UserError(
                f"dataset: its labels name the principle '{name}', which there is not.{did_you_mean(name, list(known))} "
                f"See `morlaif principles` [{config.layers.nearest(('dataset',))}]"
            )


def check_named(config: Config, names: Iterable[str]) -> None:
    """The principles that a scalarizer's options name are in the reward. Raises `UserError`."""
    rewarded = [name for name, terms in config.settings.principles.items() if terms.weight > 0]
    known = {name.replace("-", "_") for name in rewarded}
    for name in names:
        if name.replace("-", "_") not in known:
            raise UserError(
                f"scalarizer: its options name the principle '{name}', which is not active with a weight above 0."
                f"{did_you_mean(name, rewarded)} There are: {', '.join(rewarded)} "
                f"[{config.layers.nearest(('scalarizer',))}]"
            )
