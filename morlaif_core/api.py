"""The Python API: `build` any component, `run` the pipeline, `load_run` what a run left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from morlaif_core.config.config import Config
from morlaif_core.plugins.manager import Plugins
from morlaif_core.plugins.protocols import Policy, Reward
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.runs.folder import MANIFEST, RunFolder, check_folder, read_manifest
from morlaif_core.runs.named import find_run, load_named, own_config
from morlaif_core.runs.processes import first_of, ranks, wait_for_first
from morlaif_core.runs.progress import Screen
from morlaif_core.stages.context import Context
from morlaif_core.stages.judge import labelled, read_labels
from morlaif_core.stages.pairs import StoredPair, read_pairs
from morlaif_core.stages.pipeline import cost, is_finished, last_stage, run_pipeline
from morlaif_core.stages.train_policy import load_policy, rebuild_reward

from .errors import UserError, needed
from .judge_bench import JudgeBench
from .readiness import check_judging, check_reward, needed_before_run
from .types import Preference, Prompt
from .workbench import Workbench

Responses: TypeAlias = Sequence[tuple[str, ...]]
"""n responses for each prompt."""


def build(kind: str, name: str, **options: Any) -> Any:
    """Build any offered component with its options as keywords: ``build("scalarizer", "max_min")``."""
    return Plugins.load().build(kind, {"use": name, **options})


class Run:
    """A run folder, read only. Made by `run` and `load_run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, fingerprints, prompt sets, the state of every stage."""
        return read_manifest(self.folder)

    @property
    def results(self) -> dict[str, Any]:
        """The numbers of all finished stages: results.json."""
        results: dict[str, Any] = self.manifest.get("results", {})
        return results

    def spent(self) -> dict[str, Any]:
        """What the run has spent on its judges, also while it is under way: `cost_usd` (and why it is null)."""
        return cost(self.context())

    def pairs(self) -> list[StoredPair]:
        """All pairs, each with the name of its prompt set."""
        return read_pairs(self.folder)

    def preferences(self, principle: str, ties: str = "half") -> list[Preference]:
        """The labelled pairs of one principle. ties: half or drop."""
        labels = read_labels(self.folder)
        if principle not in labels:
            raise UserError(f"{self.folder} has no labels of '{principle}'; it has {', '.join(labels) or 'none'}")
        return labelled(self.pairs(), labels[principle], ("pm", "validation", "calibration"), ties)

    def export_judgements(self, file: str | Path) -> None:
        """Write the ledger's answered rows about the run's pairs as JSON lines, sorted by key: see `export_rows`."""
        from morlaif_core.feedback.ledger.export import export_rows

        export_rows(self.context().judges.ledgers, {stored.pair.id for stored in self.pairs()}, Path(file))

    def reward(self) -> Reward:
        """The reward of the run, as the policy was trained on; it loads the models at its first call."""
        return RunReward(self.folder)

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1, seed: int = 0) -> tuple[Responses, Responses]:
        """Answer prompts before and after training: n responses each, by prompt."""
        context = self.context()
        drawn = []
        for policy in (Policy(context.target), load_policy(context)):
            settings = context.settings.generation
            drawn.append(
                context.sampler.sample(
                    policy, prompts, n=n, seed=seed, generation=settings, backbones=context.backbones
                )
            )
        return drawn[0], drawn[1]

    def context(self, screen: Screen | None = None) -> Context:
        """The run's configuration and models, for programs that go on with it."""
        return self._context(RunFolder(self.folder, self.manifest, writable=False), screen or Screen(quiet=True))

    @contextmanager
    def workbench(self, screen: Screen | None = None) -> Iterator[Workbench]:
        """Hold the run folder while a command goes on from its preference models. Raises `Busy` where another does."""
        folder = RunFolder.open(self.folder)
        try:
            context = self._context(folder, screen or Screen(err=True))
            yield Workbench(context)
            context.release()
        finally:
            folder.close()

    def _context(self, folder: RunFolder, screen: Screen) -> Context:
        return Context(own_config(self.folder), folder, screen)

    def policy(self) -> Policy:
        """The trained policy."""
        return load_policy(self.context())


def run(
    *configs: str,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    until: str | None = None,
    only: str | None = None,
    quiet: bool = False,
    strict: bool = False,
) -> Run:
    """Do what ``morlaif run`` does, with CONFIGs or on a run. Raises `UserError` with the advice that the command prints."""
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
        with screen.logged(out), first_of(mine, folder, screen):
            folder.manifest.update(describe(config))
            run_pipeline(Context(config, folder, screen), until, only, missing, strict=strict)
    finally:
        folder.close()
    return Run(out)


@contextmanager
def open_judges(
    configs: Sequence[str],
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    hold: bool = True,
    quiet: bool = False,
) -> Iterator[JudgeBench]:
    """Open the judges of a configuration, with the run folder that it has or would have.

    Args:
        configs: files and shipped names, or a run, as `run` takes them.
        sets: ``KEY=VALUE``, as `run` takes them.
        out: the run folder; the run that is named, or ``runs/CONFIG``, by default.
        hold: hold the folder, made where it is not there, to ask judges. False: only look, whoever holds it.
        quiet: no bars.

    Raises:
        UserError: the configuration does not hold, or the folder is not a run folder.
        Busy: another process holds the folder.
    """
    config, path = load_named(configs, sets, out)
    folder = RunFolder.open(path) if hold else RunFolder(path, read_manifest(path), writable=False)
    try:
        if hold and "principles" not in folder.manifest:
            folder.manifest.update(describe(config))
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


def load_run(folder: str | Path) -> Run:
    """Open a run for reading: its folder, its run.yaml, or the CONFIG of ``runs/CONFIG``. Raises `UserError`."""
    return Run(find_run(folder))


# `saved_reward.LOADER` names this function: pickled rewards call it.
def load_reward(folder: Path) -> Reward:
    """Rebuild the reward of a run in a fresh process: from run.yaml, preference models, calibration and reward state."""
    return rebuild_reward(load_run(folder).context())
