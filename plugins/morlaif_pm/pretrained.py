"""`pretrained`: a reward model or classifier that people already have, as a principle's preference model.

Nothing is judged or trained. out/PRINCIPLE/done.json says which model, which of its outputs and how texts are encoded.

Leaves out: models whose folder brings code of its own, which would run with the user's rights; adapters on a base, which
`merge_and_unload` of peft makes an ordinary folder of; spread, of which one model's scores say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from morlaif_core import (
    Backbones,
    PMJob,
    PreferenceModel,
    Prompt,
    ScoreMatrix,
    Target,
    UserError,
    hub_snapshot,
    judge_model,
    missing_judge_model,
)

from .classifier import Classifier, chosen_output, label_names, load_classifier
from .folders import finish, is_done, read_done
from .options import PretrainedOptions


def target_of(options: PretrainedOptions) -> Target:
    """Return the model as the core resolves models."""
    return Target(model=options.model, revision=options.revision, dtype=options.dtype)


def missing(options: PretrainedOptions) -> Iterator[str]:
    """Yield what a run still needs. Raises `UserError` where the model's config already tells that it will not do."""
    yield from missing_judge_model(target_of(options))
    folder = Path(options.model).expanduser()
    found = folder if folder.is_dir() else hub_snapshot(options.model, options.revision)
    if found is not None:
        chosen_output(label_names(found), options)


class PretrainedBackend:
    """A `PMBackend` whose models are one that is there. Made within a run, so that its model is the run's."""

    independent = True

    def __init__(self, options: PretrainedOptions) -> None:
        self.options, self.model = options, judge_model(target_of(options))

    def train(self, job: PMJob) -> None:
        """Load the model once, to see that it will do, and note which it is."""
        todo = [item.name for item in job.principles if not is_done(job.out / item.name)]
        how = self._load(job.backbones).how if todo else {}
        for place, item in enumerate(job.principles, 1):
            if item.name in todo:
                (job.out / item.name).mkdir(parents=True, exist_ok=True)
                finish(job.out / item.name, {"backend": "pretrained", "fingerprint": self.model.fingerprint, **how})
            job.report(place, len(job.principles), {})

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        """Make the model ready, to be loaded when it first scores. Raises `UserError` naming a missing principle."""
        for name, done in zip(principles, read_done(folder, principles, "pretrained"), strict=True):
            if done["fingerprint"] != self.model.fingerprint:
                raise UserError(f"{folder / name} is of another model than {self.options.model}; run train-pms again")
        return _Scores(principles, self, backbones)

    def _load(self, backbones: Backbones) -> Classifier:
        return load_classifier(self.model.target, self.options, backbones)


class _Scores:
    """One output of one model, under each of its principles."""

    def __init__(self, principles: tuple[str, ...], backend: PretrainedBackend, backbones: Backbones) -> None:
        self.principles, self.backend, self.backbones = principles, backend, backbones

    @cached_property
    def classifier(self) -> Classifier:
        return self.backend._load(self.backbones)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k) float32, equal in all columns; any n, 0 too."""
        column = self.classifier.score(prompts, responses) if prompts else np.zeros(0, dtype=np.float32)
        values = np.repeat(column[:, None], len(self.principles), axis=1)
        return ScoreMatrix(values, self.principles, tuple(prompt.id for prompt in prompts))
