"""Scores that a function gives, as a preference-model backend: `score_component`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from morlaif_core.errors import UserError
from morlaif_core.types import Prompt, ScoreMatrix

from .components import Component, Options, Target, component
from .given import Backbones
from .jobs import PMJob
from .protocols import PMBackend, PreferenceModel

O = TypeVar("O", bound=Options)  # noqa: E741 - as in `component`
ScoreFunction: TypeAlias = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]
"""Prompts and as many responses -> a number for each, in their order; higher is better. NaN: a score that failed."""


def score_component(
    name: str,
    build: Callable[[O], ScoreFunction],
    options: type[O],
    summary: str,
    *,
    missing: Callable[[O], Iterable[str]] | None = None,
) -> Component[PMBackend]:
    """Describe a preference-model backend whose scores a function gives: a length, a format, a verifier's verdict.

    Nothing is judged or trained for it. Scores are calibrated like all others, so that their zero and unit do not matter. A
    response's score must not depend on the other responses.

    Args:
        name: as a configuration says it, under ``preference_model``.
        build: makes the function from its options, and does the heavy imports. The function takes prompts and as many
            responses, and returns a number for each in their order: higher is better, NaN is a score that failed. A
            response that was cut off is a `CutOff`.
        options: the class of its options.
        summary: one line, for lists.
        missing: given the options: what a run still needs from outside, each line says what to do.

    >>> from morlaif_core import NoOptions
    >>> def calm(options):
    ...     return lambda prompts, responses: [-text.count("!") for text in responses]
    >>> score_component("calm", calm, NoOptions, "fewer exclamation marks").learns
    False
    """

    def backend(chosen: O) -> PMBackend:
        return _GivenScores(name, build(chosen))

    # A function's score is certain: its spread is 0.
    spread = frozenset({"spread"})
    return component(name, backend, options, summary, supplies=spread, missing=missing, learns=False)  # type: ignore[arg-type]


class _GivenScores:
    """A `PMBackend` that has nothing to train."""

    independent = True

    def __init__(self, name: str, score: ScoreFunction) -> None:
        self.name, self.function = name, score

    def train(self, job: PMJob) -> None:
        for place, principle in enumerate(job.principles, 1):
            done = job.out / principle.name / "done.json"
            if not done.exists():
                done.parent.mkdir(parents=True, exist_ok=True)
                done.write_text(json.dumps({"backend": self.name}) + "\n", encoding="utf-8")
            job.report(place, len(job.principles), {})

    def load(self, folder: Path, principles: tuple[str, ...], base: Target, backbones: Backbones) -> PreferenceModel:
        missing = [name for name in principles if not (folder / name / "done.json").exists()]
        if missing:
            raise UserError(f"{folder} has no preference model of {', '.join(missing)}; run train-pms again")
        return _Scores(self.name, self.function, principles)


class _Scores:
    """The same function's scores under each of its principles."""

    def __init__(self, name: str, function: ScoreFunction, principles: tuple[str, ...]) -> None:
        self.name, self.function, self.principles = name, function, principles

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        import numpy as np

        try:
            given: Any = np.asarray(list(self.function(prompts, responses)), dtype=np.float32)
        except UserError:
            raise
        except Exception as error:  # another package's code may raise anything
            raise UserError(f"the preference model '{self.name}' failed: {type(error).__name__}: {error}") from error
        if given.shape != (len(responses),):
            raise UserError(
                f"the preference model '{self.name}' returned {given.shape} for {len(responses)} responses; "
                "it must return a number for each"
            )
        values = np.repeat(given[:, None], len(self.principles), axis=1)
        ids = tuple(prompt.id for prompt in prompts)
        return ScoreMatrix(values, self.principles, ids, spread=np.zeros_like(values))
