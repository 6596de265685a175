"""What the core gives to plugins: a report, a reward, loaded models. Structural: nothing to inherit from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from morlaif_core.types import Explanation, Prompt, RewardBatch, ScoreMatrix

from .components import Target


class Report(Protocol):
    """Progress, metrics file, guard."""

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]:
        """Tell that a step is done.

        Args:
            step: its number, from 1.
            total: steps in all.
            metrics: finite numbers by name, such as reward, kl and loss; trainers' go into metrics.jsonl.
            generate: what the policy would answer now, for who wants to look.

        Returns:
            What a trainer is to do: go on, raise its penalty on the KL to the reference, or stop with what it has.
        """
        ...


class Reward(Protocol):
    """Preference models + calibration + scalarizer. Pickles as (run folder, state) and loads at its first call.

    step: the training step, for terms that move; None: in training the step reported last; else that of the last call
    before the restored state was saved, 0 where none was restored. A reward is NaN where a score failed: that response is
    to be left out of the step before any mean, baseline or loss."""

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None) -> RewardBatch:
        """Score n responses. prompts: one for each response. responses: texts, each a `CutOff` where it did not end."""
        ...

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward.

        batch: what a call returned. Raises `UserError` where responses of a group are compared.
        """
        ...

    def end_step(self, means: ScoreMatrix) -> None:
        """End a training step, for scalarizers that learn between steps.

        A trainer need not call it: when a step is reported, or the next one is scored, the core ends it with the means of
        what was scored in it. One that scores in several processes calls it once a step, with means over all of them.

        means: (1, k) mean calibrated scores.
        """
        ...

    def state(self) -> Mapping[str, object]:
        """JSON, into every checkpoint."""
        ...

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint. state: what `state` returned."""
        ...


class Backbones(Protocol):
    """Loaded models: one copy in memory per model, revision, dtype, quantisation."""

    def get(self, target: Target, *, own: bool = False) -> Backbone:
        """Return a model, loaded where it is not yet.

        target: which, and how it is loaded. own: a copy that may be changed by training; the shared one must stay as it is.
        """
        ...


class Backbone(Protocol):
    """A causal LM with its tokenizer and named adapters (``pm/toxicity``, ``policy``)."""

    model: Any
    """transformers' causal LM"""
    tokenizer: Any
    """transformers' tokenizer"""

    def add(self, adapter: str, config: Any) -> None:
        """Add a fresh adapter. adapter: its name. config: peft's, as `lora_config` makes it."""
        ...

    def load(self, adapter: str, folder: Path) -> None:
        """Load an adapter, unless it is there. adapter: its name. folder: as `save` wrote it."""
        ...

    def save(self, adapter: str, folder: Path) -> None:
        """Write an adapter as peft does. adapter: its name. folder: is made where it is not there."""
        ...

    def use(self, adapter: str | None, *, grad: bool = False, train: bool = False) -> AbstractContextManager[Any]:
        """Yield the model with that adapter; the state before comes back on leaving; nobody else switches adapters.

        adapter: its name; None: the model alone. grad: its weights get gradients. train: in train mode, else eval mode.
        """
        ...
