"""The Python API: `build` any component, `run` the pipeline, `load_run` what a run left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from morlaif_core.config.config import Config
from morlaif_core.config.load import load_config
from morlaif_core.config.principles import Known
from morlaif_core.plugins.manager import Plugins
from morlaif_core.plugins.protocols import Policy, Reward
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.runs.folder import MANIFEST, RunFolder, check_folder, read_manifest
from morlaif_core.runs.processes import first_of, ranks, wait_for_first
from morlaif_core.runs.progress import Screen
from morlaif_core.stages.context import Context
from morlaif_core.stages.judge import labelled, read_labels
from morlaif_core.stages.pairs import StoredPair, read_pairs
from morlaif_core.stages.pipeline import cost, is_finished, last_stage, run_pipeline
from morlaif_core.stages.train_policy import load_policy, rebuild_reward

from .errors import RunFailed, UserError, needed
from .judge_bench import JudgeBench
from .readiness import check_judging, check_reward, needed_before_run
from .types import Example, Preference, Principle, Prompt
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
        # The run's own configuration and principles are complete: those of the working directory do not count.
        if not (self.folder / "run.yaml").is_file() or "principles" not in folder.manifest:
            raise RunFailed(f"{self.folder} holds no configuration yet; run `morlaif run` first")
        known = {
            name: Known(_principle(name, row), str(self.folder)) for name, row in folder.manifest["principles"].items()
        }
        config = load_config([str((self.folder / "run.yaml").absolute())], known=known, alone=True)
        return Context(config, folder, screen)

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
    """Do what ``morlaif run`` does. Raises `UserError` with the advice that the command prints."""
    config = load_config(configs, sets, overrides)
    return run_config(
        config, default_out(config) if out is None else Path(out), Screen(quiet), until, only, strict=strict
    )


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
        configs: files and shipped names, as `run` takes them; or one run folder, with its own configuration.
        sets: ``KEY=VALUE``, as `run` takes them.
        out: the run folder; ``runs/CONFIG`` by default.
        hold: hold the folder, made where it is not there, to ask judges. False: only look, whoever holds it.
        quiet: no bars.

    Raises:
        UserError: the configuration does not hold, or the folder is not a run folder.
        Busy: another process holds the folder.
    """
    if len(configs) == 1 and (Path(configs[0]) / MANIFEST).exists():
        if sets or out:
            raise UserError(f"{configs[0]} is a run with its own configuration; --set and --out go with a CONFIG")
        path = Path(configs[0])
        config = load_run(path).context().config
    else:
        config = load_config(configs, sets)
        path = default_out(config) if out is None else Path(out)
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


def default_out(config: Config) -> Path:
    """``runs/CONFIG`` in the working directory."""
    return Path("runs") / config.name


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


def _principle(name: str, row: Mapping[str, Any]) -> Principle:
    """A principle as the manifest keeps it."""
    examples = tuple(Example(**example) for example in row["examples"])
    return Principle(name, row["question"], row["picks"], tuple(row["phrasings"]), examples)


def load_run(folder: str | Path) -> Run:
    """Open a run folder for reading. Raises `UserError` where it is none."""
    path = Path(folder)
    if not (path / MANIFEST).exists():
        raise UserError(f"{path} is not a run folder; `morlaif run` makes one")
    return Run(path)


# `saved_reward.LOADER` names this function: pickled rewards call it.
def load_reward(folder: Path) -> Reward:
    """Rebuild the reward of a run in a fresh process: from run.yaml, preference models, calibration and reward state."""
    return rebuild_reward(load_run(folder).context())
