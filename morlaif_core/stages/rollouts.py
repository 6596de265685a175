"""policy/rollouts.jsonl: what the policy answered in some steps of its training, with scores and reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from morlaif_core.types import Prompt, RewardBatch, ScoreMatrix, ended

from .metrics import StepRows
from .pairs import message_rows

FILE = "policy/rollouts.jsonl"
STEPS = 100
"""About how many steps are kept where nobody says how many."""


class Rollouts:
    """Keeps the first responses that a trainer had scored for some of its steps, whatever trainer it is.

    every: steps from one that is kept to the next, the first and the last always among them; 0: none is kept.
    per_step: responses of a step that are kept at most.
    """

    def __init__(self, run: Path, every: int | Literal["auto"], per_step: int) -> None:
        self._every, self._per_step = every, per_step
        self._file = StepRows(run / FILE)
        self._scored: list[dict[str, Any]] = []

    def scored(self, prompts: Sequence[Prompt], responses: Sequence[str], batch: RewardBatch) -> None:
        """Take up what was scored: it belongs to the step that is reported next."""
        # A trainer may score a step in parts, and one that reports nothing must not fill the memory.
        for place in range(min(len(responses), self._per_step - len(self._scored)) if self._every else 0):
            self._scored.append(_row(prompts[place], responses[place], batch, place))

    def keep(self, columns: Mapping[str, Sequence[float]]) -> None:
        """Take up a trainer's own numbers of each response, by name, in the order in which they were scored."""
        for name, values in columns.items():
            for row, value in zip(self._scored, values, strict=False):
                row[name] = _number(value)

    def end_step(self, step: int, total: int) -> None:
        """Write what belongs to a step, if it is one that is kept."""
        if self._every:
            every = math.ceil(total / STEPS) if self._every == "auto" else self._every
            kept = step in (1, total) or step % max(every, 1) == 0
            self._file.add(step, *(self._scored if kept else ()))
        self._scored = []


def _row(prompt: Prompt, response: str, batch: RewardBatch, place: int) -> dict[str, Any]:
    return {
        "prompt_id": prompt.id,
        "prompt": message_rows(prompt),
        "response": str(response),
        "ended": ended(response),
        "raw": None if batch.raw is None else _scores(batch.raw, place),
        "scores": _scores(batch.scores, place),
        "reward": _number(batch.rewards[place]),
    }


def _scores(scores: ScoreMatrix, place: int) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(scores.principles, scores.values[place], strict=True)}


def _number(value: Any) -> float | None:
    """A number for JSON, which has none for a score that failed."""
    return None if math.isnan(value) else float(value)
