"""What each kind must be able to do. Structural: nothing to inherit from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from morlaif_core.types import (
    Answer,
    Capabilities,
    Explanation,
    Floats,
    Preference,
    Principle,
    Prompt,
    ProviderError,
    Request,
    ResponsePair,
    RewardBatch,
    ScoreMatrix,
    Split,
    Terms,
)

from .components import Generation, Target


class FeedbackProvider(Protocol):
    """One request, one answer, or ProviderError. Built inside the core's one event loop; `aclose()` is awaited where
    there is one. Local models offer ``def ask_many(self, requests) -> Sequence[Answer]`` instead of `ask`, for up to
    ``capabilities.max_batch`` requests at once."""

    @property
    def identity(self) -> str:
        """Host, model, version: all that an answer depends on besides the request; in the ledger's key."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Of this model, not of the plugin."""
        ...

    async def ask(self, request: Request) -> Answer: ...


class Batches(Protocol):
    """A feedback provider that also takes many requests at once, answered within hours at a lower price."""

    @property
    def max_batch_requests(self) -> int:
        """The most requests that one batch may hold."""
        ...

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        """Hand in requests by ledger key and return the provider's batch id.

        Raises `ProviderError`: where it is transient the batch may have been taken, unless its reason is ``unsent``.
        name: unique; stored with the batch where the provider can, so that `find` knows it again.
        """
        ...

    async def find(self, name: str) -> str | None:
        """Return the id of the batch handed in under a name, None where there is none.

        Raises `ProviderError`, of kind item where the provider keeps no names.
        """
        ...

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        """Return answers or errors by ledger key (a key may be absent: not answered), None while not ready.

        Raises `ProviderError`, of kind item where the batch was refused as a whole: none of it was answered or paid for;
        of reason ``full`` where a smaller or later one may be taken, ``gone`` where the batch is not there any more.
        """
        ...


class PreferenceModel(Protocol):
    """Scores responses under all its principles at once."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k)."""
        ...


class PMBackend(Protocol):
    """Trains and loads preference models."""

    @property
    def independent(self) -> bool:
        """True: a new principle is trained alone; False: all of them again."""
        ...

    def train(self, job: PMJob) -> None:
        """Train all principles of the job; goes on from its checkpoints.

        out/PRINCIPLE/ is whole when out/PRINCIPLE/done.json is there. May ask ``job.stop()``, as a `PolicyTrainer` does.
        """
        ...

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Load these principles, in this order; a missing one is an error."""
        ...


class Scalarizer(Protocol):
    """Calibrated scores (n, k) and their terms -> rewards (n,). Row by row unless it needs groups. What it needs, uses
    and guarantees stands in its Component."""

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats: ...


class Dataset(Protocol):
    """Prompts and, where there are any, human preferences."""

    def prompts(self, split: Split) -> Iterator[Prompt]: ...

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield human labels; empty where there are none."""
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why -> how many, filled while iterating: nothing is left out in silence."""
        ...


class ModelMaker(Protocol):
    """A model that is neither a folder nor on a hub: made once, cached, then loaded like any folder. One with the
    attribute ``learns = False`` (a mere conversion) gets no texts, and neither texts nor seed count in its cache key."""

    @property
    def identity(self) -> str: ...

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        """Write a model folder. texts: the training split's conversations, no evaluation prompt among them."""
        ...


class Sampler(Protocol):
    """Draws responses from a policy."""

    def sample(
        self,
        policy: Policy,
        prompts: Sequence[Prompt],
        *,
        n: int,
        seed: int,
        generation: Generation,
        backbones: Backbones,
    ) -> Sequence[tuple[str, ...]]:
        """Answer one chunk: n responses for each prompt.

        One that was stopped at ``generation.max_new_tokens`` is a `CutOff`; a plain str counts as ended."""
        ...


class PolicyTrainer(Protocol):
    """Trains the target on the reward."""

    def train(self, job: PolicyJob) -> Policy:
        """Go on from job.out where it holds a checkpoint; report each step and obey the answer.

        Before each step, ask ``job.stop()``: where it is true, write a checkpoint and raise KeyboardInterrupt. Ctrl-C ends
        a trainer that never asks at once, and it goes on from its last checkpoint."""
        ...


class Report(Protocol):
    """Progress, metrics file, guard. generate: what the policy would answer now, for who wants to look."""

    def __call__(
        self,
        step: int,
        total: int,
        metrics: Mapping[str, float],
        *,
        generate: Callable[[Sequence[Prompt]], Sequence[str]] | None = None,
    ) -> Literal["go", "raise_kl", "stop"]: ...


@dataclass(frozen=True)
class PMJob:
    """What a `PMBackend` trains."""

    principles: tuple[Principle, ...]
    train: Mapping[str, Sequence[Preference]]
    held_out: Mapping[str, Sequence[Preference]]
    base: Target
    out: Path
    seed: int
    report: Report
    backbones: Backbones
    stop: Callable[[], bool] = lambda: False
    """as that of `PolicyJob`"""


@dataclass(frozen=True)
class PolicyJob:
    """What a `PolicyTrainer` trains."""

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
    """share of the untrained target's responses that ended by themselves, in [0, 1]"""
    stop: Callable[[], bool] = lambda: False
    """asked between steps: whether Ctrl-C or SIGTERM has come, so that a checkpoint is to be written and
    KeyboardInterrupt raised; once it has been asked, a first signal waits for the next time"""
    keep: Callable[[Mapping[str, Sequence[float]]], None] = lambda columns: None
    """before a step's report: numbers of each response, such as ``kl``, in the order in which the step's were scored; they
    go into rollouts.jsonl beside the scores, which are kept without it"""


@dataclass(frozen=True)
class Policy:
    """A target with trained weights or an adapter in ``folder``. best_of > 1: the core draws and the reward picks."""

    target: Target
    folder: Path | None = None
    best_of: int = 1


class Reward(Protocol):
    """Preference models + calibration + scalarizer. Pickles as (run folder, state) and loads at its first call.

    step: the training step, for terms that move; None: that of the last call before the restored state was saved, 0
    where none was restored. A reward is NaN where a score failed: that response is to be left out of the step before any
    mean, baseline or loss."""

    def __call__(
        self, prompts: Sequence[Prompt], responses: Sequence[str], *, step: int | None = None
    ) -> RewardBatch: ...

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Say which principle decided each reward. Raises `UserError` where responses of a group are compared."""
        ...

    def end_step(self, means: ScoreMatrix) -> None:
        """Once per training step, with means over all processes."""
        ...

    def state(self) -> Mapping[str, object]:
        """JSON, into every checkpoint."""
        ...

    def restore(self, state: Mapping[str, object]) -> None: ...


class Backbones(Protocol):
    """Loaded models: one copy in memory per model, revision, dtype, quantisation."""

    def get(self, target: Target, *, own: bool = False) -> Backbone:
        """Return the model; own: a copy that may be moved by training."""
        ...


class Backbone(Protocol):
    """A causal LM with its tokenizer and named adapters (``pm/toxicity``, ``policy``)."""

    model: Any
    """transformers' causal LM"""
    tokenizer: Any

    def add(self, adapter: str, config: Any) -> None:
        """Add a fresh adapter from a peft config."""
        ...

    def load(self, adapter: str, folder: Path) -> None: ...

    def save(self, adapter: str, folder: Path) -> None: ...

    def use(self, adapter: str | None, *, grad: bool = False, train: bool = False) -> AbstractContextManager[Any]:
        """Yield the model with that adapter; the state before comes back on leaving; nobody else switches adapters."""
        ...
