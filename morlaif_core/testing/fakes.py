"""Small real things to test against: score matrices, terms, a preference model and a reward from a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from morlaif_core.types import Explanation, Floats, Prompt, PromptLike, RewardBatch, ScoreMatrix, Terms, make_prompt


def make_scores(values: ArrayLike, principles: Sequence[str] | None = None, *, group: int = 1) -> ScoreMatrix:
    """Return a `ScoreMatrix` of values (n, k).

    Args:
        values: (n, k), or a list of rows.
        principles: k names; by default p0, p1, …
        group: every so many rows share a prompt id.
    """
    matrix = np.array(values, dtype=np.float32)
    if matrix.ndim != 2:
        raise ValueError(f"scores are a matrix (n, k), not of shape {matrix.shape}")
    names = tuple(principles) if principles is not None else tuple(f"p{column}" for column in range(matrix.shape[1]))
    return ScoreMatrix(matrix, names, tuple(f"prompt-{row // group}" for row in range(matrix.shape[0])))


def make_terms(
    *,
    weight: Sequence[float] | None = None,
    threshold: Sequence[float] | None = None,
    priority: Sequence[int] | None = None,
    lower: float = -3.0,
    upper: float = 3.0,
    k: int | None = None,
) -> Terms:
    """Return `Terms` of k principles: equal weights, thresholds 0 and priorities 1, 2, … where nothing is said.

    Args:
        weight, threshold, priority: k values each; weights are scaled to sum 1.
        lower, upper: the clip range.
        k: the number of principles, needed where no list says it.
    """
    k = k or next((len(given) for given in (weight, threshold, priority) if given is not None), 1)
    weights = np.array(weight if weight is not None else [1.0] * k, dtype=np.float64)
    return Terms(
        weight=(weights / weights.sum()).astype(np.float32),
        threshold=np.array(threshold if threshold is not None else [0.0] * k, dtype=np.float32),
        priority=np.array(priority if priority is not None else range(1, k + 1), dtype=np.int64),
        lower=np.full(k, lower, dtype=np.float32),
        upper=np.full(k, upper, dtype=np.float32),
    )


@dataclass(frozen=True)
class FakePreferenceModel:
    """A `PreferenceModel` whose scores come from functions of prompt and response.

    Attributes:
        measures: principle -> function of prompt and response that gives a score.

    >>> model = FakePreferenceModel({"length": lambda prompt, response: len(response)})
    >>> model.score(["Hi"], ["Hello"]).values.tolist()
    [[5.0]]
    """

    measures: Mapping[str, Callable[[Prompt, str], float]]

    def score(self, prompts: Sequence[PromptLike], responses: Sequence[str]) -> ScoreMatrix:
        """Return (n, k) scores, a column for each measure. prompts, responses: n of each; prompts as `make_prompt` takes."""
        asked = [make_prompt(prompt) for prompt in prompts]
        rows = [[measure(p, r) for measure in self.measures.values()] for p, r in zip(asked, responses, strict=True)]
        values = np.array(rows, dtype=np.float32).reshape(len(responses), len(self.measures))
        return ScoreMatrix(values, tuple(self.measures), tuple(prompt.id for prompt in asked))


@dataclass(frozen=True)
class MemoryReward:
    """A `Reward` from one function; it pickles where the function does."""

    measure: Callable[[Prompt, str], float]

    def __call__(
        self, prompts: Sequence[PromptLike], responses: Sequence[str], *, step: int | None = None
    ) -> RewardBatch:
        """Return the function's values (n,) as rewards and as the scores of one principle, `reward`."""
        scores = FakePreferenceModel({"reward": self.measure}).score(prompts, responses)
        rewards: Floats = scores.values[:, 0].copy()
        return RewardBatch(rewards, scores, clipped=0.0)

    def explain(self, batch: RewardBatch, *, step: int | None = None) -> Explanation:
        """Its one principle decides every row."""
        values = batch.scores.values
        return Explanation(batch.scores.principles, np.ones_like(values), batch.scores.principles * len(values), values)

    def end_step(self, means: ScoreMatrix) -> None:
        """Nothing changes from step to step."""

    def state(self) -> Mapping[str, object]:
        """Return an empty state."""
        return {}

    def restore(self, state: Mapping[str, object]) -> None:
        """Accept an empty state."""


def memory_reward(measure: Callable[[Prompt, str], float]) -> MemoryReward:
    """Return a `Reward` that needs no run folder.

    measure: gives a response's reward, from prompt and response; the reward pickles where it does.

    >>> memory_reward(lambda prompt, response: -len(response))(["Hi"], ["Hello"]).rewards.tolist()
    [-5.0]
    """
    return MemoryReward(measure)
