"""The Python API: `build` any component, `run` the pipeline, `open_judges` of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from morlaif_core.config.config import Config
from morlaif_core.config.load import ConfigLike
from morlaif_core.plugins.manager import Plugins
from morlaif_core.plugins.protocols import Reward
from morlaif_core.runs.commands import recorded
from morlaif_core.runs.folder import MANIFEST, RunFolder, check_folder, read_manifest
from morlaif_core.runs.named import load_named
from morlaif_core.runs.processes import first_of, ranks, wait_for_first
from morlaif_core.runs.progress import Screen
from morlaif_core.stages.context import Context
from morlaif_core.stages.pipeline import is_finished, last_stage, run_pipeline
from morlaif_core.stages.train_policy import rebuild_reward

from .errors import needed
from .judge_bench import JudgeBench
from .opened_run import Run as Run, load_run as load_run
from .readiness import check_judging, check_reward, needed_before_run


def build(kind: str, name: str, /, **options: Any) -> Any:
    """Build any offered component.

    Args:
        kind: feedback_provider, pm_backend, scalarizer, dataset, model, sampler, policy_trainer or command.
        name: as a configuration names it in `use`; `morlaif plugins` lists the names.
        options: its options, validated like YAML.

    Raises:
        UserError: there is no such component, or an option does not fit.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> build("scalarizer", "max_min")(make_scores([[1.0, -1.0], [0.25, 0.5]]), make_terms(k=2)).tolist()
    [-1.0, 0.25]
    """
    return Plugins.load().build(kind, {"use": name, **options})


def run(
    *configs: ConfigLike,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    until: str | None = None,
    only: str | None = None,
    quiet: bool = False,
    strict: bool = False,
) -> Run:
    """Do what ``morlaif run`` does: run the pipeline, or what is left of it, in a run folder.

    Args:
        configs: from left to right, later ones on top of earlier ones: files, shipped names such as ``demo``, or mappings of
            a file's keys. The first may be a run folder (or its run.yaml), which goes on with its own configuration.
        out: the run folder; by default the run that is named, or ``runs/CONFIG``, as with the command.
        overrides: keys with their values, on top of the configurations; a key may have dots: ``{"trainer.steps": 20}``.
        sets: ``KEY=VALUE`` with VALUE in YAML, on top of all, as the command's ``--set``.
        until: the last stage to run: sample, judge, train-pms, train-policy or evaluate; None: all.
        only: the one stage to run, where those before it are done.
        quiet: print nothing.
        strict: stop before the policy where a preference model of the reward is not shown to be better than chance.

    Returns:
        The run: its results, models, reward and files.

    Raises:
        UserError: with the advice that the command prints: the configuration does not hold, something is missing, another
            process holds the folder (`Busy`), a stage could not finish (`RunFailed`).

    Example::

        run = morlaif_core.run("demo", {"principles": {"politeness": {}, "helpfulness": {"weight": 2.0}}}, out="runs/mine")
        print(run.results["win_rate"]["overall"])
    """
    config, folder = load_named(configs, sets, out, overrides)
    return run_config(config, folder, Screen(quiet), until, only, strict=strict)


def run_config(
    config: Config,
    out: Path,
    screen: Screen,
    until: str | None = None,
    only: str | None = None,
    *,
    strict: bool = False,
) -> Run:
    """Run a loaded configuration in a folder. Of several processes (torchrun) the first does it, the others wait."""
    mine = ranks()
    # Before anything heavy: a misspelt stage is told at once.
    last_stage(until, only)
    check_folder(out)
    check_reward(config)
    check_judging(config)
    missing = needed_before_run(config)
    if missing and not (out / MANIFEST).exists():
        # No folder is begun for it. A run that is complete needs nothing from outside to say so: see `run_pipeline`.
        raise needed("this run", missing)
    # The checks above are every process's: each of them then ends with the same error, and none waits.
    if not mine.first:
        wait_for_first(out, lambda: is_finished(_looking(config, out), until, only))
        return Run(out)
    folder = RunFolder.open(out)
    try:
        with screen.logged(out), recorded(folder), first_of(mine, folder, screen):
            folder.manifest.update(describe(config))
            run_pipeline(Context(config, folder, screen), until, only, missing, strict=strict)
    finally:
        folder.close()
    return Run(out)


@contextmanager
def open_judges(
    configs: ConfigLike | Sequence[ConfigLike],
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    hold: bool = True,
    quiet: bool = False,
) -> Iterator[JudgeBench]:
    """Open the judges of a configuration, with the run folder that it has or would have.

    Args:
        configs: what `run` takes, one or several: files, shipped names, mappings, or a run.
        sets: ``KEY=VALUE``, as `run` takes them.
        out: the run folder; the run that is named, or ``runs/CONFIG``, by default.
        hold: hold the folder, made where it is not there, to ask judges. False: only look, whoever holds it.
        quiet: no bars.

    Raises:
        UserError: the configuration does not hold, or the folder is not a run folder.
        Busy: another process holds the folder.
    """
    several = [configs] if isinstance(configs, str | Path | Mapping) else list(configs)
    config, path = load_named(several, sets, out)
    folder = RunFolder.open(path) if hold else RunFolder(path, read_manifest(path), writable=False)
    try:
        if hold and "principles" not in folder.manifest:
            folder.manifest.update(describe(config))
        with recorded(folder) if hold else nullcontext():
            yield JudgeBench(Context(config, folder, Screen(quiet, err=True)))
    finally:
        folder.close()


def _looking(config: Config, out: Path) -> Context:
    """A configuration in a run folder that another process holds: the manifest is read anew at each call."""
    return Context(config, RunFolder(out, read_manifest(out), writable=False), Screen(quiet=True))


def describe(config: Config) -> dict[str, Any]:
    """Versions, plugins, seeds and principles for the manifest."""
    import platform
    from importlib.metadata import version

    libraries = ("morlaif", "torch", "transformers", "trl", "peft", "datasets", "numpy")
    principles = {item.name: dataclasses.asdict(item) for item in config.principles}
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in libraries}},
        "plugins": [list(plugin) for plugin in config.plugins.loaded],
        "seeds": {"seed": config.settings.seed, **config.settings.seeds},
        "principles": principles,
    }


# `saved_reward.LOADER` names this function: pickled rewards call it.
def load_reward(folder: Path) -> Reward:
    """Rebuild the reward of a run in a fresh process: from run.yaml, preference models, calibration and reward state."""
    return rebuild_reward(load_run(folder).context())
