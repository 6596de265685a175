"""What each kind must be able to do. Structural: nothing to inherit from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from morlaif_core.types import (
    Answer,
    Capabilities,
    Floats,
    Preference,
    Prompt,
    ProviderError,
    Request,
    ScoreMatrix,
    Split,
    Terms,
)

from .components import Generation, Target
from .given import Backbone as Backbone, Backbones as Backbones, Report as Report, Reward as Reward
from .jobs import PMJob as PMJob, Policy as Policy, PolicyJob as PolicyJob


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

    async def ask(self, request: Request) -> Answer:
        """Answer one request, without trying again. request: what is asked. Raises `ProviderError`."""
        ...


class Batches(Protocol):
    """A feedback provider that also takes many requests at once, answered within hours at a lower price."""

    @property
    def max_batch_requests(self) -> int:
        """The most requests that one batch may hold."""
        ...

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        """Hand in a batch and return the provider's id for it.

        Args:
            requests: by ledger key.
            name: unique; stored with the batch where the provider can, so that `find` knows it again.

        Raises:
            ProviderError: where it is transient the batch may have been taken, unless its reason is ``unsent``.
        """
        ...

    async def find(self, name: str) -> str | None:
        """Return the id of the batch handed in under a name, None where there is none.

        name: as `submit` got it. Raises `ProviderError`, of kind item where the provider keeps no names.
        """
        ...

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        """Return answers or errors by ledger key (a key may be absent: not answered), None while not ready.

        batch: the provider's id. Raises `ProviderError`, of kind item where the batch was refused as a whole: none of it was
        answered or paid for; of reason ``full`` where a smaller or later one may be taken, ``gone`` where the batch is not
        there any more.
        """
        ...


class PreferenceModel(Protocol):
    """Scores responses under all its principles at once."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k).

        prompts: one for each response. responses: n texts, each a `CutOff` where it did not end. A row does not depend on
        the others. NaN: a score that failed; an error only where all of a principle's failed.
        """
        ...


class PMBackend(Protocol):
    """Trains and loads preference models."""

    @property
    def independent(self) -> bool:
        """True: a new principle is trained alone; False: all of them again, in one job until each is done."""
        ...

    def train(self, job: PMJob) -> None:
        """Train all principles of the job; goes on from its checkpoints.

        job: what to train. out/PRINCIPLE/ is whole when out/PRINCIPLE/done.json is there. May ask ``job.stop()``, as a
        `PolicyTrainer` does.
        """
        ...

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Load trained preference models as one.

        Args:
            folder: a job's `out`.
            principles: names, in the order of the scores' columns; a missing one is an error.
            base: the job's.
            backbones: loaded models.
        """
        ...


class Scalarizer(Protocol):
    """Calibrated scores and their terms -> rewards. Row by row unless it needs groups. What it needs, uses and guarantees
    stands in its Component."""

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return rewards (n,). scores: (n, k), calibrated. terms: of the same k principles."""
        ...


class Dataset(Protocol):
    """Prompts and, where there are any, human preferences."""

    def prompts(self, split: Split) -> Iterator[Prompt]:
        """Yield distinct prompts. split: train or test; no prompt is in both."""
        ...

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Yield human labels; none where there are none. split: train or test."""
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why -> how many, filled while iterating: nothing is left out in silence."""
        ...


class ModelMaker(Protocol):
    """A model that is neither a folder nor on a hub: made once, cached, then loaded like any folder. One with the
    attribute ``learns = False`` (a mere conversion) gets no texts, and neither texts nor seed count in its cache key."""

    @property
    def identity(self) -> str:
        """What the model depends on besides options, texts and seed; in the cache's key."""
        ...

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        """Write a model folder.

        Args:
            folder: an empty folder, for a transformers model with its tokenizer.
            texts: the training split's conversations, no evaluation prompt among them.
            seed: decides all that is random.
            report: is told of each step.
        """
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
        """Answer one chunk of prompts.

        Args:
            policy: who answers; `policy_backbone` loads it.
            prompts: the chunk.
            n: responses to each prompt.
            seed: with the other arguments it decides the responses.
            generation: length, temperature, where to stop.
            backbones: loaded models.

        Returns:
            A tuple of n responses for each prompt, in order. One that was stopped at ``generation.max_new_tokens`` is a
            `CutOff`; a plain str counts as ended.
        """
        ...


class PolicyTrainer(Protocol):
    """Trains the target on the reward."""

    def train(self, job: PolicyJob) -> Policy:
        """Go on from job.out where it holds a checkpoint; report each step and obey the answer.

        job: what to train. Before each step, ask ``job.stop()``: where it is true, write a checkpoint and raise
        KeyboardInterrupt. Ctrl-C ends a trainer that never asks at once, and it goes on from its last checkpoint.
        """
        ...
