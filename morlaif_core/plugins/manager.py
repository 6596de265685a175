"""Find plugins, set broken ones aside with an explanation, list what they offer, resolve a name."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, TypeAlias

import pluggy
from pydantic import ValidationError

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.types import Example, Principle

from .components import Component, NoOptions, Options
from .entry_points import BUILT_IN, SetAside as SetAside, plugin_entry_points
from .hookspecs import GROUP, Hooks
from .option_errors import explain

KINDS = {
    "feedback_provider": "morlaif_feedback_providers",
    "pm_backend": "morlaif_pm_backends",
    "scalarizer": "morlaif_scalarizers",
    "dataset": "morlaif_datasets",
    "model": "morlaif_models",
    "sampler": "morlaif_samplers",
    "policy_trainer": "morlaif_policy_trainers",
    "command": "morlaif_commands",
}
PRINCIPLES_HOOK = "morlaif_principles"
CORE_COMMANDS = frozenset("run check init status plugins principles".split())
"""The command line's own commands, whose names no plugin can take."""
Aside: TypeAlias = Callable[[str], None]
"""Told the cause of what is not used."""
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def check_name(name: str) -> str:
    """Return the name's canonical form (``-`` as ``_``). Raises ValueError where it is not a name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 64:
        raise ValueError(f"'{name}' is not a name: small letters, digits, '-' and '_', a letter first, no dots")
    return name.replace("-", "_")


@dataclass(frozen=True)
class Offer:
    """A component with who offers it."""

    plugin: str
    distribution: str
    version: str
    kind: str
    component: Component[Any]


class Plugins:
    """What installed plugins offer. Made by `Plugins.load`."""

    def __init__(self) -> None:
        self.offers_by_kind: dict[str, list[Offer]] = {kind: [] for kind in KINDS}
        self.principles: list[tuple[str, Principle]] = []
        self.set_aside: list[SetAside] = []
        self.loaded: list[tuple[str, str, str]] = []
        self.gone: list[str] = []
        """What a run was made with and is not here: see `compare`."""

    @classmethod
    def load(cls) -> Plugins:
        """Ask every installed plugin for its offers. ``MORLAIF_STRICT=1`` raises instead of setting aside."""
        plugins = cls()
        for entry, distribution, version in plugin_entry_points(plugins._put_aside):
            plugins._add(entry, distribution, version)
        for aside in plugins.set_aside:
            warnings.warn(str(aside), stacklevel=2)
        return plugins

    def compare(self, made_with: Iterable[Sequence[str]]) -> None:
        """Note which plugins a run was made with that are not here, or of another version, for messages.

        made_with: plugin, distribution and version of each, as the manifest keeps them.
        """
        here = {plugin: (distribution, version) for plugin, distribution, version in self.loaded}
        told: dict[tuple[str, str, str], list[str]] = {}
        for plugin, distribution, version in made_with:
            found = here.get(plugin)
            if found is None:
                what = f"it is not installed: pip install {distribution}=={version}"
                told.setdefault((distribution, version, what), []).append(plugin)
            elif found != (distribution, version) and distribution != BUILT_IN:
                told.setdefault((distribution, version, f"now it is {' '.join(found)}"), []).append(plugin)
        for (distribution, version, what), plugins in told.items():
            self.gone.append(f"the run was made with {distribution} {version} (plugin {', '.join(plugins)}); {what}")

    def _add(self, entry: EntryPoint, distribution: str, version: str) -> None:
        """Load one entry point and take its offers; whatever goes wrong stays with it."""

        def aside(cause: str) -> None:
            self._put_aside(SetAside(entry.name, distribution, version, cause))

        if any(_canonical(name) == _canonical(entry.name) for name, _, _ in self.loaded):
            return aside(f"the plugin name '{entry.name}' is taken")
        try:
            check_name(entry.name)
            # One manager for each plugin: what is wrong with its hooks is then told of it alone.
            manager = pluggy.PluginManager(GROUP)
            manager.add_hookspecs(Hooks)
            manager.register(entry.load(), entry.name)
        except (Exception, SystemExit) as error:  # a plugin's module may raise anything at import
            return aside(f"it cannot be loaded: {type(error).__name__}: {error}")
        try:
            # pluggy takes a misspelt hook in silence until it is asked.
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            return aside(f"it implements an unknown hook: {error}.{_hook_hint(str(error))}")
        self.loaded.append((entry.name, distribution, version))
        for kind, hook in KINDS.items():
            for item in _ask(manager, hook, aside):
                self._take(Offer(entry.name, distribution, version, kind, item), aside)
        for principle in _ask(manager, PRINCIPLES_HOOK, aside):
            problem = _told(PRINCIPLES_HOOK, partial(self._principle_problem, entry.name, principle))
            if problem:
                aside(problem)
            else:
                self.principles.append((entry.name, principle))

    def _put_aside(self, aside: SetAside) -> None:
        if os.environ.get("MORLAIF_STRICT") == "1":
            raise UserError(str(aside))
        self.set_aside.append(aside)

    def _take(self, offer: Offer, aside: Aside) -> None:
        """Keep an offer that fits; say why of one that does not."""
        problem = _told(KINDS[offer.kind], partial(self._problem, offer))
        if problem:
            aside(problem)
        else:
            self.offers_by_kind[offer.kind].append(offer)

    def _principle_problem(self, plugin: str, item: object) -> str | None:
        """Why a principle cannot be used, or None."""
        if not isinstance(item, Principle):
            return f"{PRINCIPLES_HOOK} returned {item!r}, not a Principle"
        name = check_name(item.name)
        if not _is_text(item.question):
            return f"principle '{item.name}': the question is no text"
        if item.picks not in ("better", "worse"):
            return f"principle '{item.name}': picks is {item.picks!r}, not 'better' or 'worse'"
        if not (isinstance(item.phrasings, tuple) and all(_is_text(phrasing) for phrasing in item.phrasings)):
            return f"principle '{item.name}': phrasings are not a tuple of texts"
        if not (isinstance(item.examples, tuple) and all(isinstance(example, Example) for example in item.examples)):
            return f"principle '{item.name}': examples are not a tuple of Example"
        if any(other == plugin and _canonical(known.name) == name for other, known in self.principles):
            return f"principle '{item.name}' is offered twice by this plugin"
        return None

    def _problem(self, offer: Offer) -> str | None:
        """Why an offer cannot be used, or None. Raises whatever a plugin's values make of it."""
        component: object = offer.component
        if not isinstance(component, Component):
            return f"{KINDS[offer.kind]} returned {component!r}, not a component(...)"
        name = check_name(component.name)
        what = f"{offer.kind} '{component.name}'"
        if not (isinstance(component.options, type) and issubclass(component.options, Options)):
            return f"the options of {what} are not a subclass of Options"
        if not callable(component.build):
            return f"the build of {what} cannot be called"
        if not _is_text(component.summary):
            return f"the summary of {what} is no text"
        for field in ("needs", "supplies", "uses"):
            if not isinstance(getattr(component, field), (set, frozenset)):
                return f"the {field} of {what} are not a frozenset"
        for field in ("missing", "refuses"):
            if not (getattr(component, field) is None or callable(getattr(component, field))):
                return f"the {field} of {what} cannot be called"
        if offer.kind == "command" and (problem := _command_problem(component)):
            return problem
        taken = [o for o in self.offers_by_kind[offer.kind] if _canonical(o.component.name) == name]
        if any(other.distribution == BUILT_IN and offer.distribution != BUILT_IN for other in taken):
            return f"{offer.kind} '{component.name}' is a built-in name and cannot be taken"
        if any(other.plugin == offer.plugin for other in taken):
            return f"{offer.kind} '{component.name}' is offered twice by this plugin"
        return None

    def find_offer(self, kind: str, name: str) -> Offer:
        """Resolve ``name`` or ``plugin/name``. Raises `UserError` with advice where it is unknown or ambiguous."""
        if kind not in KINDS:
            raise UserError(f"there is no kind '{kind}'.{did_you_mean(kind, list(KINDS))} Kinds: {', '.join(KINDS)}")
        plugin, _, bare = name.rpartition("/")
        fits = [
            offer
            for offer in self.offers_by_kind[kind]
            if _canonical(offer.component.name) == _canonical(bare)
            and (not plugin or _canonical(offer.plugin) == _canonical(plugin))
        ]
        if len(fits) > 1:
            choices = " or ".join(f"{offer.plugin}/{offer.component.name}" for offer in fits)
            raise UserError(f"{kind} '{name}' is offered more than once; say {choices}")
        if fits:
            return fits[0]
        known = [offer.component.name for offer in self.offers_by_kind[kind]]
        asides = "".join(f"\n  {aside}" for aside in (*self.set_aside, *self.gone))
        raise UserError(
            f"there is no {kind} '{name}'.{did_you_mean(bare, known)} Offered: {', '.join(sorted(known)) or 'none'}{asides}"
        )

    def find(self, kind: str, name: str) -> Component[Any]:
        """The component of `find_offer`."""
        return self.find_offer(kind, name).component

    def offers(self, kind: str, name: str) -> bool:
        """Say whether the name resolves."""
        plugin, _, bare = name.rpartition("/")
        return any(
            _canonical(offer.component.name) == _canonical(bare)
            and (not plugin or _canonical(offer.plugin) == _canonical(plugin))
            for offer in self.offers_by_kind[kind]
        )

    def options(self, kind: str, block: Mapping[str, Any], where: str = "") -> Options:
        """Validate the keys beside ``use``. Raises `UserError` naming the key, with did-you-mean."""
        component = self.find(kind, str(block["use"]))
        values = {key: value for key, value in block.items() if key != "use"}
        try:
            return component.options.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error, component.options, where or f"{kind} '{component.name}'")) from None

    def build(self, kind: str, block: Mapping[str, Any]) -> Any:
        """Build the component that a block ``{"use": name, **options}`` names."""
        options = self.options(kind, block)
        return self.find(kind, str(block["use"])).build(options)


def _told(hook: str, problem: Callable[[], str | None]) -> str | None:
    """What a check of a plugin's value says, or how the value made the check itself fail."""
    try:
        return problem()
    except ValueError as error:
        return f"{hook}: {error}"
    except Exception as error:  # a plugin's value may raise anything, whatever is asked of it
        return f"{hook} returned what cannot be checked: {type(error).__name__}: {error}"


def _command_problem(component: Component[Any]) -> str | None:
    """Why an offer that fits as a component is no command, or None."""
    what = f"command '{component.name}'"
    if _canonical(component.name) in CORE_COMMANDS:
        return f"{what} is one of the core's and its name cannot be taken"
    if component.options is not NoOptions:
        return f"the options of {what} are not NoOptions: no configuration sets them, a command reads its own arguments"
    if len(component.summary.strip().splitlines()) > 1:
        return f"the summary of {what} is more than one line"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _hook_hint(message: str) -> str:
    hooks = [*KINDS.values(), PRINCIPLES_HOOK]
    wrong = re.search(r"morlaif_\w+", message)
    return did_you_mean(wrong.group(), hooks) if wrong else f" Hooks: {', '.join(hooks)}."


def _ask(manager: pluggy.PluginManager, hook: str, aside: Aside) -> list[Any]:
    """What one plugin returns for one hook; an implementation that raises silences itself alone."""
    found: list[Any] = []
    # Not `manager.hook.NAME()`: one implementation that raises would take the others' offers with it.
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            found += list(implementation.function())
        except (Exception, SystemExit) as error:  # a plugin's hook may raise anything
            aside(f"{hook} failed: {type(error).__name__}: {error}")
    return found
