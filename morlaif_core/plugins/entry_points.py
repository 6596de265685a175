"""The entry points of installed plugins, and what is told of one that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions

from .hookspecs import GROUP

BUILT_IN = "morlaif"
"""The distribution whose plugins come first and whose names cannot be taken."""


@dataclass(frozen=True)
class SetAside:
    """A plugin, or one of its offers, that is not used, and why."""

    plugin: str
    distribution: str
    version: str
    cause: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.distribution} {self.version} was set aside: {self.cause}"


def plugin_entry_points(put_aside: Callable[[SetAside], None]) -> Iterable[tuple[EntryPoint, str, str]]:
    """Every plugin's entry point with its distribution: ours first, then by name, so that order never decides."""
    found: dict[tuple[str, str], tuple[EntryPoint, str, str]] = {}
    # Not pluggy's own loading: in the order of directories another package's entry point could replace ours, silently.
    for distribution in distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
            name, version = (distribution.metadata["Name"] or "?", distribution.version or "?") if entries else ("", "")
        except Exception as error:  # what an installer left may be damaged, and have nothing to do with us
            # Damaged packages that never named us are not worth a warning in every command.
            if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
                put_aside(SetAside("?", str(getattr(distribution, "_path", "?")), "?", f"damaged: {error}"))
            continue
        for entry in entries:
            # The first distribution of a name on the path is the one that imports see.
            found.setdefault((name, entry.name), (entry, name, version))
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != BUILT_IN, key))]
