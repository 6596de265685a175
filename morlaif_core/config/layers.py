"""YAML layers merged into one mapping that remembers where each value comes from."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morlaif_core.errors import UserError

from .yaml_files import parse_yaml

Path_ = tuple[str, ...]
CHOOSERS = ("use", "panel", "cascade")
"""Keys that say what a block is: a layer where one differs starts that block anew."""
NAMED = ("principles", "judges")
"""Blocks whose keys are names, in which ``-`` and ``_`` are the same."""
FILE_KEYS = ("path", "ledger")
"""Values under these keys are paths, relative to the file that holds them."""
COUNTS = {"pm": "auto", "calibration": "auto", "rl": None, "evaluation": "auto"}
"""What ``prompts: auto`` is short for."""
TEMPLATE = ("judging", "template")
"""A path too; elsewhere `template` is none: see `target.template`."""
USES = ("dataset", "sampler", "preference_model", "scalarizer", "trainer")
"""Blocks of a component, which may be written as its name alone."""
LEARNER = "preference_model"
"""The run's, and a principle's own."""
TARGETS: tuple[Path_, ...] = (("target",), ("preference_model", "base"))
"""Blocks of a model, which may be written as its name alone."""


@dataclass
class Layers:
    """The merged values, with the origin of each leaf."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path_, str] = field(default_factory=dict)
    blocks: dict[Path_, str] = field(default_factory=dict)
    """The layer that began each mapping: for messages about what a mapping lacks."""
    folders: dict[Path_, Path | None] = field(default_factory=dict)
    """The folder that a leaf's layer lies in: where a path in it begins."""

    def add(self, layer: Mapping[str, Any], label: str, folder: Path | None = None, *, whole: bool = True) -> None:
        """Put a layer on top. ``whole``: its ``principles`` replace those below."""
        # A copy, as the mapping may be the caller's.
        values = copy.deepcopy(dict(layer)) if folder is None else with_absolute_paths(layer, folder)
        _name_uses(values)
        for block in NAMED:
            _check_names(values.get(block), block, label)
        if whole and values.get("principles") is not None:
            self.drop(("principles",))
            values["principles"] = _named(values["principles"])
        if values.get("prompts") == "auto":
            values["prompts"] = COUNTS
        self._merge(self.values, values, (), (label, folder))

    def add_set(self, text: str, folder: Path) -> None:
        """Put one ``KEY=VALUE`` on top; VALUE is YAML. Raises `UserError` where it is not of that form."""
        key, equals, value = text.partition("=")
        path = _set_path(text)
        if not equals or not all(path):
            raise UserError(f"--set {text}: say KEY=VALUE, for example --set scalarizer.use=max_min")
        self._add_at(path, parse_yaml(value, f"--set {key}"), f"--set {key}", folder)

    def add_dotted(self, layer: Mapping[str, Any], label: str, folder: Path) -> None:
        """Put a mapping on top whose keys may have dots, as those of ``--set``. Raises `UserError` for an empty part."""
        for key in in_order(layer):
            path = _set_path(key)
            if not all(path):
                raise UserError(f"{label}: '{key}' is no key; say KEY or BLOCK.KEY, for example 'scalarizer.use'")
            self._add_at(path, layer[key], label, folder)

    def _add_at(self, path: Path_, value: Any, label: str, folder: Path) -> None:
        for part in reversed(path):
            value = {part: value}
        self.add(value, label, folder, whole=len(path) == 1)

    def origin(self, path: Path_) -> str:
        """Which layer gave the value at a path: ``default`` where none did."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        # A block has no origin of its own: the last layer that gave one of its keys is told.
        below = [label for known, label in self.origins.items() if known[: len(path)] == path]
        return below[-1] if below else "default"

    def nearest(self, path: Path_) -> str:
        """Which layer to mend where the value at a path is wrong or missing."""
        found = self.origin(path)
        blocks = (self.blocks[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.blocks)
        return found if found != "default" else next(blocks, "default")

    def at(self, path: Path_) -> Any:
        """The value at a path, None where there is none."""
        value: Any = self.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def own_preference_models(self) -> list[Path_]:
        """The paths of the backends that principles have for themselves."""
        principles = self.values.get("principles")
        blocks = principles.items() if isinstance(principles, dict) else ()
        return [
            ("principles", str(name), LEARNER)
            for name, block in blocks
            if isinstance(block, dict) and isinstance(block.get(LEARNER), dict)
        ]

    def folder(self, path: Path_) -> Path | None:
        """The folder that a relative path in the value at a path begins in."""
        known = (path[:length] for length in range(len(path), 0, -1) if path[:length] in self.folders)
        return self.folders.get(next(known, ()))

    def drop(self, path: Path_) -> None:
        """Remove the value at a path with all origins below it."""
        block = self.at(path[:-1])
        if isinstance(block, dict):
            block.pop(path[-1], None)
        for known in (self.origins, self.blocks, self.folders):
            _forget(known, path)

    def _merge(
        self, base: dict[str, Any], layer: Mapping[str, Any], path: Path_, source: tuple[str, Path | None]
    ) -> None:
        """Put a layer's mapping on the one at a path. A null stays as such: what it means depends on the key's type."""
        for name, value in layer.items():
            named = path in [(block,) for block in NAMED]
            key = _known_name(base, name) if named else name
            here = (*path, str(key))
            if isinstance(value, dict) and not _is_threshold(here):
                self._begin(base, key, value, here, source[0])
                self._merge(base[key], value, here, source)
                continue
            # With all origins below, or `check` would name a layer whose value is gone.
            self.drop(here)
            # Under principles and judges null takes a name out; elsewhere it may be a value: see `nulls`.
            if value is not None or not named:
                base[key] = value
                self.origins[here], self.folders[here] = source

    def _begin(self, base: dict[str, Any], key: str, value: Mapping[str, Any], here: Path_, label: str) -> None:
        """Make sure that a mapping stands at a key: what is there, or a new one where the layer makes another thing."""
        old = base.get(key)
        if isinstance(old, str) and (here in TARGETS or (_is_own(here[:-1]) and here[-1] == "base")):
            old = base[key] = {"model": old}
        # A judge may be called panel: only below the names do these keys choose.
        if not isinstance(old, dict) or (here not in [(block,) for block in NAMED] and _differs(old, value)):
            self.drop(here)
            base[key] = {}
            self.blocks[here] = label


def in_order(sets: Iterable[str]) -> list[str]:
    """The order in which ``--set``, or dotted keys, are applied: as given, but what chooses a block's component goes before
    what sets its keys; else it would start the block anew and lose them."""
    ordered: list[str] = []
    for text in sets:
        *block, key = _canonical_path(text)
        place = len(ordered)
        if key in CHOOSERS:
            while place and not _chooses(_canonical_path(ordered[place - 1]), block):
                place -= 1
        ordered.insert(place, text)
    return ordered


def _chooses(path: list[str], block: list[str]) -> bool:
    """Say whether a set of this path gives the block as a whole, or its component."""
    return path == block[: len(path)] or (path[:-1] == block and path[-1] in CHOOSERS)


def _set_path(text: str) -> Path_:
    return tuple(part.strip() for part in text.partition("=")[0].split("."))


def _canonical_path(text: str) -> list[str]:
    path = [part.replace("-", "_") for part in _set_path(text)]
    value = text.partition("=")[2].strip()
    # A name alone chooses the component, and a mapping gives the whole block.
    named = path[0] in USES if len(path) == 1 else path[0] == "judges" and len(path) == 2
    named = named or _is_own(tuple(path))
    return [*path, "use"] if named and value and not value.startswith("{") else path


def _is_own(path: Path_) -> bool:
    """A principle's own backend."""
    return len(path) == 3 and path[0] == "principles" and path[2] == LEARNER


def _is_threshold(path: Path_) -> bool:
    """A threshold's mapping is one value: {win_rate: w} does not merge with {quantile: q}."""
    return len(path) == 3 and path[0] == "principles" and path[2] == "threshold"


def _forget(known: dict[Path_, Any], path: Path_) -> None:
    for below in [below for below in known if below[: len(path)] == path]:
        del known[below]


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether the layer makes another thing of the block."""
    chosen = {key: new[key] for key in CHOOSERS if key in new}
    return bool(chosen) and chosen != {key: old[key] for key in CHOOSERS if key in old}


def _known_name(block: Mapping[str, Any], name: str) -> str:
    """The block's own spelling of a name, or the name where it is new."""
    return next((known for known in block if known.replace("-", "_") == name.replace("-", "_")), name)


def _check_names(block: Any, where: str, label: str) -> None:
    """Raise `UserError` where one layer spells one name in two ways."""
    seen: dict[str, str] = {}
    for name in block if isinstance(block, dict) else ():
        other = seen.setdefault(name.replace("-", "_"), name)
        if other != name:
            raise UserError(f"{where}: '{other}' and '{name}' are one name (- and _ are the same) [{label}]")


def _named(principles: Any) -> Any:
    """A list of names as a mapping; an entry without terms means defaults (null would remove it)."""
    if isinstance(principles, list) and all(isinstance(name, str) for name in principles):
        repeated = sorted({name for name in principles if principles.count(name) > 1})
        if repeated:
            raise UserError(f"principles: listed twice: {', '.join(repeated)}")
        return {name: {} for name in principles}
    if isinstance(principles, dict):
        return {name: {} if terms is None else terms for name, terms in principles.items()}
    return principles


def _name_uses(values: dict[str, Any]) -> None:
    """Write out, in place, the components that are given by name alone."""
    judges, principles = values.get("judges"), values.get("principles")
    named = [(values, name) for name in USES]
    named += [(judges, name) for name in judges] if isinstance(judges, dict) else []
    terms = principles.values() if isinstance(principles, dict) else ()
    named += [(block, LEARNER) for block in terms if isinstance(block, dict)]
    for blocks, name in named:
        if isinstance(blocks.get(name), str):
            blocks[name] = {"use": blocks[name]}


def with_absolute_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A layer whose paths to files are absolute; relative ones begin in the folder."""
    copied = copy.deepcopy(dict(values))
    _absolute_paths(copied, folder)
    return copied


def _absolute_paths(block: Any, folder: Path, within: str = "") -> None:
    """Make a layer's paths to files absolute. Whether a model's name is a folder depends on the plugins too."""
    if not isinstance(block, dict):
        return
    for key, value in block.items():
        if isinstance(value, str) and (key in FILE_KEYS or (within, key) == TEMPLATE):
            block[key] = absolute(value, folder)
        else:
            _absolute_paths(value, folder, key)


def absolute(path: str, folder: Path) -> str:
    """A path as written in a layer of a folder, absolute; ``~`` is the home folder where there is one."""
    # Not resolve: a link is left as the user wrote it.
    return str((folder / os.path.expanduser(path)).absolute())
