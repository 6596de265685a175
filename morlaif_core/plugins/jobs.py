"""What backends and trainers are asked to do, and what a trainer returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from morlaif_core.types import Preference, Principle, Prompt, ResponsePair

from .components import Generation, Target
from .given import Backbones, Report, Reward


@dataclass(frozen=True)
class PMJob:
    """What a `PMBackend` trains.

    Attributes:
        principles: those to be trained now; others may be in `out` already.
        train: labelled pairs by principle; labels are soft.
        held_out: the same, of other prompts: for early stopping or reports, never for training.
        base: the model to start from, resolved: its `model` is a folder or a hub id with a fixed revision. A backend that
            needs no language model ignores it.
        out: the folder to write to: out/PRINCIPLE/ for each, its done.json last.
        seed: decides all that is random.
        report: is told of each step; its answer does not count.
        backbones: loaded models; ``backbones.get(base)`` is the base.
        stop: as that of `PolicyJob`.

    `morlaif_core.testing.check_pm_backend` makes one and checks what a backend does with it.
    """

    principles: tuple[Principle, ...]
    train: Mapping[str, Sequence[Preference]]
    held_out: Mapping[str, Sequence[Preference]]
    base: Target
    out: Path
    seed: int
    report: Report
    backbones: Backbones
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class PolicyJob:
    """What a `PolicyTrainer` trains.

    Attributes:
        target: the model to be trained, resolved: its `model` is a folder or a hub id with a fixed revision.
        prompts: to train on; those of the evaluation are not among them.
        pairs: the preference models' own pairs, for trainers that learn from pairs.
        reward: scores responses.
        generation: how responses are sampled.
        out: the folder to write to: checkpoints, then the policy.
        seed: decides all that is random.
        report: is told of each step; its answer is obeyed.
        backbones: loaded models; ``backbones.get(target, own=True)`` is a copy to be trained.
        reference_ended: share of the untrained target's responses that ended by themselves, in [0, 1].
        stop: asked between steps: whether Ctrl-C or SIGTERM has come, so that a checkpoint is to be written and
            KeyboardInterrupt raised; once it has been asked, a first signal waits for the next time.
        keep: before a step's report: numbers of each response, such as ``kl``, in the order in which the step's were scored;
            they go into rollouts.jsonl beside the scores, which are kept without it.

    `morlaif_core.testing.check_policy_trainer` makes one and checks what a trainer does with it.
    """

    target: Target
    prompts: Sequence[Prompt]
    pairs: Sequence[ResponsePair]
    reward: Reward
    generation: Generation
    out: Path
    seed: int
    report: Report
    backbones: Backbones
    reference_ended: float = 1.0
    stop: Callable[[], bool] = lambda: False
    keep: Callable[[Mapping[str, Sequence[float]]], None] = lambda columns: None


@dataclass(frozen=True)
class Policy:
    """A model that samples: the target, trained or not.

    Attributes:
        target: the model that was trained, or is used as it is.
        folder: trained weights (a transformers folder) or an adapter (peft's); None: the untrained target.
        best_of: kept in policy.json for a sampler that draws several responses and picks one; the built-in sampler does not.

    >>> Policy(Target(model="gpt2")).folder is None
    True
    """

    target: Target
    folder: Path | None = None
    best_of: int = 1
