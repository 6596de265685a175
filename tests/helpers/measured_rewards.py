"""Three measures of texts, as principles: their calibration, reference scores and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morlaif_core import Message, ScoreMatrix, Terms, make_prompt
from morlaif_core.reward.calibration import Calibration
from morlaif_core.testing import make_scores
from morlaif_scalarizers import morlaif_scalarizers

OFFERED = {offered.name: offered for offered in morlaif_scalarizers()}
MEASURES = {
    "short": lambda prompt, response: -float(len(response)) / 10,
    "calm": lambda prompt, response: -float(response.count("!")),
    "polite": lambda prompt, response: float("please" in response),
}
NAMES = tuple(MEASURES)
PROMPTS = [make_prompt([Message("user", f"Question {number}?")]) for number in range(4)]
RESPONSES = ["Yes.", "No! No! No!", "Please, please: please wait, and then please ask again.", "please"]


def calibration(clip: float = 3.0) -> Calibration:
    return Calibration("std", clip, NAMES, (-1.0, -0.5, 0.5), (1.0, 2.0, 0.5))


def reference(n: int = 500) -> ScoreMatrix:
    values = np.random.default_rng(0).normal(0, 1, (n, 3))
    return make_scores(3 * np.tanh(values / 3), NAMES)


class Learning:
    """A scalarizer with state: shifts by what it has seen."""

    shift = 0.0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        return scores.values[:, 0] + np.float32(self.shift)

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        self.shift += float(means.values[0, 0])

    def state(self) -> Mapping[str, object]:
        return {"shift": self.shift}

    def restore(self, state: Mapping[str, object]) -> None:
        self.shift = float(str(state["shift"]))
