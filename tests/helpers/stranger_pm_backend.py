"""A preference-model backend as a stranger would write it, logistic regression on words, and what he may get wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from morlaif_core import (
    Backbones,
    Component,
    NoOptions,
    PMBackend,
    PMJob,
    Preference,
    PreferenceModel,
    Prompt,
    ScoreMatrix,
    Target,
    UserError,
    component,
)

Weights = dict[str, float]


class WordModel:
    """Adds up the weights of a response's words, a list of weights for each principle."""

    dtype: ClassVar[Any] = np.float32

    def __init__(self, principles: tuple[str, ...], weights: list[Weights]) -> None:
        self.principles, self.weights = principles, weights

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        rows = [[self.one(weights, response) for weights in self.weights] for response in responses]
        values = np.array(rows, dtype=self.dtype).reshape(len(responses), len(self.weights))
        return ScoreMatrix(self.finished(values), self.principles, tuple(prompt.id for prompt in prompts))

    def one(self, weights: Weights, response: str) -> float:
        return sum(weights.get(word, 0.0) for word in response.split())

    def finished(self, values: Any) -> Any:
        return values


class Stranger:
    """The one that does all of it."""

    independent: ClassVar[Any] = True
    model: ClassVar[type[WordModel]] = WordModel

    def __init__(self, options: NoOptions) -> None:
        pass

    def train(self, job: PMJob) -> None:
        todo = self.todo(job)
        for place, name in enumerate(todo, len(job.principles) - len(todo) + 1):
            weights = self.fit(self.rows(job, name), job)
            (job.out / name).mkdir(parents=True, exist_ok=True)
            (job.out / name / "weights.json").write_text(json.dumps(weights))
            self.finish(job.out / name)
            self.report(job, place)

    def finish(self, folder: Path) -> None:
        (folder / "done.json").write_text("{}")

    def todo(self, job: PMJob) -> list[str]:
        return [one.name for one in job.principles if not (job.out / one.name / "done.json").exists()]

    def rows(self, job: PMJob, name: str) -> Sequence[Preference]:
        return job.train[name]

    def report(self, job: PMJob, step: int) -> None:
        job.report(step, len(job.principles), {"loss": 0.1})

    def label(self, row: Preference) -> float:
        return row.p_a

    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        words = sorted({word for row in rows for word in (row.a + " " + row.b).split()})
        x = np.array([[row.a.split().count(word) - row.b.split().count(word) for word in words] for row in rows])
        p, weights = np.array([self.label(row) for row in rows]), np.zeros(len(words))
        for _ in range(300):
            weights -= 0.5 * (x.T @ (1 / (1 + np.exp(-x @ weights)) - p) / len(rows) + 0.01 * weights)
        return dict(zip(words, weights.tolist(), strict=True))

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        return self.model(principles, [self.read(folder / name) for name in principles])

    def read(self, folder: Path) -> Weights:
        if not (folder / "weights.json").exists():
            raise UserError(f"{folder} is missing; train it first")
        return dict(json.loads((folder / "weights.json").read_text()))


class Turned(Stranger):
    def label(self, row: Preference) -> float:
        return 1 - row.p_a


class Constant(Stranger):
    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        return {}


class IgnoresLabels(Stranger):
    """Takes a for the better one."""

    def label(self, row: Preference) -> float:
        return 1.0


class Distracted(Stranger):
    """Makes much of what matters little."""

    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        weights = super().fit(rows, job)
        return {word: 9.0 * (weight > 0) + weight for word, weight in weights.items()}


class HardLabels(Stranger):
    def label(self, row: Preference) -> float:
        return float(row.p_a > 0.5)


class SwapsColumns(Stranger):
    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        weights = [self.read(folder / name) for name in principles]
        return self.model(principles, weights[::-1])


class SortsColumns(Stranger):
    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        return self.model(principles, [self.read(folder / name) for name in sorted(principles)[::-1]])


class FirstRowsForAll(Stranger):
    def rows(self, job: PMJob, name: str) -> Sequence[Preference]:
        return next(iter(job.train.values()))


class NoReports(Stranger):
    def report(self, job: PMJob, step: int) -> None:
        pass


class ReportsOnce(Stranger):
    def report(self, job: PMJob, step: int) -> None:
        if step == 1:
            super().report(job, step)


class NoDone(Stranger):
    def finish(self, folder: Path) -> None:
        pass


class TrainsAgain(Stranger):
    def todo(self, job: PMJob) -> list[str]:
        return [principle.name for principle in job.principles]


class TrainsUnfinishedAgain(Stranger):
    """Does nothing where all is done, else everything anew."""

    def todo(self, job: PMJob) -> list[str]:
        return [principle.name for principle in job.principles] if super().todo(job) else []


class ByChance(Stranger):
    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        moved = np.random.default_rng().normal(scale=0.1, size=len(rows))
        return {word: value + moved[0] for word, value in super().fit(rows, job).items()}


class Swallows(Stranger):
    def report(self, job: PMJob, step: int) -> None:
        try:
            super().report(job, step)
        except BaseException:
            return


class MovesBase(Stranger):
    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        with torch.no_grad():
            for weight in job.backbones.get(job.base).model.parameters():
                weight.add_(0.01)
        return super().fit(rows, job)


class AcceptsMissing(Stranger):
    def read(self, folder: Path) -> Weights:
        return super().read(folder) if folder.exists() else {}


class InMemory(Stranger):
    kept: ClassVar[dict[int, Weights]] = {}

    def fit(self, rows: Sequence[Preference], job: PMJob) -> Weights:
        self.weights = super().fit(rows, job)
        return {}


class Undecided(Stranger):
    independent = None


def _model(name: str, **members: Any) -> type[Stranger]:
    return type(name, (Stranger,), {"model": type(name, (WordModel,), members)})


NaNs = _model("NaNs", finished=lambda self, values: values * np.nan)
Doubles = _model("Doubles", dtype=np.float64)
Transposed = _model("Transposed", finished=lambda self, values: values.T)
Centred = _model("Centred", finished=lambda self, values: values - values.mean(axis=0))

MUTANTS: dict[type[Stranger], str] = {
    Turned: "turned round",
    Constant: "are equal",
    IgnoresLabels: "are equal",
    Distracted: "soft label",
    HardLabels: "soft label",
    SwapsColumns: "follow what is better under calm",
    SortsColumns: "loaded in another order",
    FirstRowsForAll: "follow what is better under warm",
    NoReports: "job.report",
    ReportsOnce: "1 of 2",
    NoDone: "done.json",
    TrainsAgain: "changes files",
    TrainsUnfinishedAgain: "trained again",
    ByChance: "scores are others",
    Swallows: "let what job.report raises pass",
    MovesBase: "base was moved",
    AcceptsMissing: "never trained",
    InMemory: "are equal",
    Undecided: "independent is None",
    NaNs: "not finite",
    Doubles: "float32",
    Transposed: "shape",
    Centred: "depends on its batch",
}
"""Each with words of the message that finds it."""


def offered(kind: type[Stranger] = Stranger) -> Component[PMBackend]:
    """Return the component of one of them."""
    return component("words", kind, NoOptions, "logistic regression on words")
