"""YAML layers merged into one mapping that remembers where each value comes from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UserError
from .yaml_files import parse_yaml

Path_ = tuple[str, ...]
CHOOSERS = ("use", "panel", "cascade")
"""Keys that say what a block is: a layer where one differs starts that block anew."""
NAMED = ("principles", "judges")
"""Blocks whose keys are names, in which ``-`` and ``_`` are the same."""
FILE_KEYS = ("path", "ledger")
"""Values under these keys are paths, relative to the file that holds them."""


@dataclass
class Layers:
    """The merged values, with the origin of each leaf."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path_, str] = field(default_factory=dict)
    blocks: dict[Path_, str] = field(default_factory=dict)
    """The layer that began each mapping: for messages about what a mapping lacks."""

    def add(self, layer: Mapping[str, Any], label: str, folder: Path | None = None, *, whole: bool = True) -> None:
        """Put a layer on top. ``whole``: its ``principles`` replace those below."""
        values = copy.deepcopy(dict(layer))
        if folder is not None:
            _absolute_paths(values, folder)
        for block in NAMED:
            _check_names(values.get(block), block, label)
        if whole and values.get("principles") is not None:
            self._drop(("principles",))
            values["principles"] = _named(values["principles"])
        self._merge(self.values, values, (), label)

    def add_set(self, text: str, folder: Path) -> None:
        """Put one ``KEY=VALUE`` on top; VALUE is YAML. Raises `UserError` where it is not of that form."""
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            raise UserError(f"--set {text}: say KEY=VALUE, for example --set scalarizer.use=max_min")
        parsed = parse_yaml(value, f"--set {key}")
        layer: Any = parsed
        for part in reversed(path):
            layer = {part: layer}
        self.add(layer, f"--set {key}", folder, whole=len(path) == 1)

    def origin(self, path: Path_) -> str:
        """Which layer gave the value at a path: ``default`` where none did."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        below = [label for known, label in self.origins.items() if known[: len(path)] == path]
        return below[-1] if below else "default"

    def nearest(self, path: Path_) -> str:
        """Which layer to mend where the value at a path is wrong or missing."""
        found = self.origin(path)
        blocks = (self.blocks[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.blocks)
        return found if found != "default" else next(blocks, "default")

    def _merge(self, base: dict[str, Any], layer: Mapping[str, Any], path: Path_, label: str) -> None:
        for name, value in layer.items():
            key = _known_name(base, name) if path in [(block,) for block in NAMED] else name
            here = (*path, str(key))
            if value is None:
                self._drop(here)
                continue
            old = base.get(key)
            if isinstance(value, dict):
                if isinstance(old, str) and here in (("target",), ("preference_model", "base")):
                    old = base[key] = {"model": old}
                if not isinstance(old, dict) or _differs(old, value):
                    self._drop(here)
                    base[key] = {}
                    self.blocks[here] = label
                self._merge(base[key], value, here, label)
            else:
                self._drop(here)
                base[key] = value
                self.origins[here] = label

    def _drop(self, path: Path_) -> None:
        """Remove the value at a path with all origins below it."""
        block: Any = self.values
        for part in path[:-1]:
            block = block.get(part) if isinstance(block, dict) else None
        if isinstance(block, dict):
            block.pop(path[-1], None)
        for labels in (self.origins, self.blocks):
            for known in [known for known in labels if known[: len(path)] == path]:
                del labels[known]


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


def _absolute_paths(block: Any, folder: Path) -> None:
    """Make paths in a layer absolute; a ``model`` is one where such a folder is there, else a name or hub id."""
    if not isinstance(block, dict):
        return
    for key, value in block.items():
        if isinstance(value, str) and key in FILE_KEYS:
            block[key] = str((folder / Path(value).expanduser()).absolute())
        elif isinstance(value, str) and key in ("model", "target", "base"):
            local = folder / Path(value).expanduser()
            if local.is_dir():
                block[key] = str(local.absolute())
        else:
            _absolute_paths(value, folder)
