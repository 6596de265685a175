"""What commands are given: a CONFIG, or a run with its own configuration, named by its folder or its run.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morlaif_core.config.config import Config
from morlaif_core.config.load import ConfigLike, config_name, load_config
from morlaif_core.config.principles import Known, known_principles
from morlaif_core.errors import RunFailed, UserError
from morlaif_core.plugins.manager import Plugins
from morlaif_core.types import Example, Principle

from .folder import MANIFEST, read_manifest

SETTINGS = "run.yaml"


def run_of(name: str | Path) -> Path | None:
    """The run folder that a path names, by itself or by its run.yaml; None where it names none."""
    path = Path(name).expanduser()
    path = path.parent if path.name == SETTINGS else path
    return path if (path / MANIFEST).is_file() else None


def find_run(*names: str | Path) -> Path:
    """The run folder of a run, or of CONFIGs that were run into ``runs/CONFIG``. Raises `UserError` where there is none."""
    found = run_of(names[0]) if len(names) == 1 else None
    # A folder of that name elsewhere is not meant: what was run is a file or a name.
    if found is None and all(Path(name).is_file() or len(Path(name).parts) == 1 for name in names):
        found = run_of(Path("runs") / config_name([str(name) for name in names]))
    if found is None:
        raise UserError(f"{' '.join(map(str, names))} is not a run folder; `morlaif run` makes one")
    return found


def load_named(
    configs: Sequence[ConfigLike],
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Config, Path]:
    """The configuration, and its run folder: ``out``, or the run that comes first, or ``runs/CONFIG``.

    What follows a run is layered on that run's own configuration. Raises `UserError`.
    """
    first = configs[0] if configs else {}
    run = None if isinstance(first, Mapping) else run_of(first)
    if run is None:
        config = load_config(configs, sets, overrides)
        return config, Path("runs") / config.name if out is None else Path(out)
    return own_config(run, configs[1:], sets, overrides), run if out is None else Path(out)


def own_config(
    run: Path,
    more: Sequence[ConfigLike] = (),
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    checked: bool = True,
) -> Config:
    """A run's configuration with its own principles, and more layers on it. Raises `RunFailed` where it has none yet.

    checked: components are there and fit; False: what is wrong with one is told when it is used.
    """
    manifest = read_manifest(run)
    principles = manifest.get("principles")
    if principles is None or not (run / SETTINGS).is_file():
        raise RunFailed(f"{run} holds no configuration yet; run `morlaif run` first")
    # Complete: what lies in the working directory does not count, but for a principle that the run does not have.
    own = {name: Known(_principle(name, row), str(run)) for name, row in principles.items()}
    plugins = Plugins.load()
    plugins.compare(manifest.get("plugins", ()))
    known = {**known_principles(plugins), **own} if more or sets or overrides else own
    file = str((run / SETTINGS).absolute())
    return load_config([file, *more], sets, overrides, plugins, known=known, alone=True, checked=checked)


def _principle(name: str, row: Mapping[str, Any]) -> Principle:
    """A principle as the manifest keeps it."""
    examples = tuple(Example(**example) for example in row["examples"])
    return Principle(name, row["question"], row["picks"], tuple(row["phrasings"]), examples)
