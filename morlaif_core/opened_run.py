"""What a run left: `load_run` opens a run folder as a `Run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from morlaif_core.config.settings import Settings
from morlaif_core.plugins.protocols import Policy
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.runs.commands import recorded
from morlaif_core.runs.folder import RunFolder, read_manifest
from morlaif_core.runs.named import find_run, own_config
from morlaif_core.runs.progress import Screen
from morlaif_core.runs.views import frame, run_html, run_line
from morlaif_core.stages.comparison_rows import ROWS as EVALUATION, read_compared_pairs
from morlaif_core.stages.context import Context
from morlaif_core.stages.judge import labelled, read_labels
from morlaif_core.stages.pairs import StoredPair, read_pairs
from morlaif_core.stages.pipeline import cost
from morlaif_core.stages.rollouts import FILE as ROLLOUTS
from morlaif_core.stages.train_policy import METRICS, load_policy

from .errors import UserError
from .types import Preference, PromptLike, make_prompt
from .workbench import Workbench

if TYPE_CHECKING:
    import pandas as pd

Responses: TypeAlias = Sequence[tuple[str, ...]]
"""n responses for each prompt."""


class Run:
    """A run folder, read only. Made by `run` and `load_run`; it shows itself as a table in notebooks.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        """Say how far it has come."""
        return run_line(self.folder, self.manifest)

    def _repr_html_(self) -> str:
        return run_html(self.folder, self.manifest)

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, fingerprints, prompt sets, the state of every stage."""
        return read_manifest(self.folder)

    @property
    def results(self) -> dict[str, Any]:
        """The numbers of all finished stages: results.json."""
        results: dict[str, Any] = self.manifest.get("results", {})
        return results

    @property
    def settings(self) -> Settings:
        """The run's configuration: ``run.settings.scalarizer``; ``run.settings.model_dump()`` is a dictionary."""
        return self.context().settings

    def metrics(self) -> pd.DataFrame:
        """What the trainer reported: a row a step, and a column for each metric (see PPO in the documentation).

        Raises `UserError` where no step was reported yet.
        """
        return frame(self.folder / METRICS, "`morlaif run` writes it in train-policy", "step")

    def evaluation(self) -> pd.DataFrame:
        """The final evaluation: a row for each held-out prompt (see evaluation.jsonl in the documentation).

        Raises `UserError` before the evaluation.
        """
        return frame(self.folder / EVALUATION, "`morlaif run` writes it in evaluate")

    def rollouts(self) -> pd.DataFrame:
        """Responses of the training with their scores and rewards, as far as they were kept.

        Raises `UserError` where none were kept.
        """
        return frame(self.folder / ROLLOUTS, "`morlaif run` writes it in train-policy, where the trainer's are kept")

    def spent(self) -> dict[str, Any]:
        """What the run has spent on its judges, also while it is under way: `cost_usd` (and why it is null)."""
        return cost(self.context())

    def pairs(self) -> list[StoredPair]:
        """All pairs, each with the name of its prompt set."""
        return read_pairs(self.folder)

    def preferences(self, principle: str, ties: str = "half") -> list[Preference]:
        """The labelled pairs of one principle.

        Args:
            principle: its name.
            ties: half (a tie is a label of 0.5) or drop.

        Raises:
            UserError: there are no labels of the principle.
        """
        labels = read_labels(self.folder)
        if principle not in labels:
            raise UserError(f"{self.folder} has no labels of '{principle}'; it has {', '.join(labels) or 'none'}")
        return labelled(self.pairs(), labels[principle], ("pm", "validation", "calibration"), ties)

    def export_judgements(self, file: str | Path) -> None:
        """Write the ledger's answered rows about the run's pairs, the evaluation's too, as JSON lines, sorted by key.

        Without times and costs. file: is replaced where it is there.
        """
        from morlaif_core.feedback.ledger.export import export_rows

        pairs = [*(stored.pair for stored in self.pairs()), *read_compared_pairs(self.folder)]
        export_rows(self.context().judges.ledgers, {pair.id for pair in pairs}, Path(file))

    def reward(self) -> RunReward:
        """The reward of the run, as the policy was trained on; it loads the models at its first call.

        ``run.reward()(["How do I calm dogs?"], ["Speak softly."])`` gives a `RewardBatch`.
        """
        return RunReward(self.folder)

    def generate(self, prompts: Sequence[PromptLike], *, n: int = 1, seed: int = 0) -> tuple[Responses, Responses]:
        """Answer prompts before and after training.

        Args:
            prompts: texts, messages or whatever else `make_prompt` takes.
            n: responses to each prompt from each model.
            seed: of the sampling.

        Returns:
            Two lists, before and after, with a tuple of n responses for each prompt.
        """
        context, asked = self.context(), [make_prompt(prompt) for prompt in prompts]
        drawn = []
        for policy in (Policy(context.target), load_policy(context)):
            settings = context.settings.generation
            drawn.append(
                context.sampler.sample(policy, asked, n=n, seed=seed, generation=settings, backbones=context.backbones)
            )
        return drawn[0], drawn[1]

    def context(self, screen: Screen | None = None) -> Context:
        """The run's configuration and models, for programs that go on with it. screen: where to say what; None: nowhere."""
        return self._context(RunFolder(self.folder, self.manifest, writable=False), screen or Screen(quiet=True))

    @contextmanager
    def workbench(self, screen: Screen | None = None) -> Iterator[Workbench]:
        """Hold the run folder while a program goes on from its preference models.

        screen: where bars are drawn; None: on stderr. Raises `Busy` where another process holds the folder.
        """
        folder = RunFolder.open(self.folder)
        try:
            context = self._context(folder, screen or Screen(err=True))
            with recorded(folder):
                yield Workbench(context)
            context.release()
        finally:
            folder.close()

    def _context(self, folder: RunFolder, screen: Screen) -> Context:
        # Not checked: who scores or reads a run needs no more of its plugins than that.
        return Context(own_config(self.folder, checked=False), folder, screen)

    def policy(self) -> Policy:
        """The trained policy."""
        return load_policy(self.context())


def load_run(folder: str | Path) -> Run:
    """Open a run for reading, be it finished, under way or stopped.

    folder: its folder, such as ``runs/demo``, its run.yaml, or the CONFIG of ``runs/CONFIG``. Raises `UserError` where
    there is none.
    """
    return Run(find_run(folder))
