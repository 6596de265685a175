"""Preference models of a run that give no score to some texts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from morlaif_core import Prompt, ScoreMatrix, workbench
from morlaif_core.stages import train_pms, train_policy


class Failing:
    """The run's own models; NaN under a principle where a text fails."""

    def __init__(self, model: Any, principle: str, fails: Callable[[str], bool]) -> None:
        self.model, self.principle, self.fails = model, principle, fails

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        scores: ScoreMatrix = self.model.score(prompts, responses)
        rows = [place for place, text in enumerate(responses) if self.fails(text)]
        scores.values[rows, scores.principles.index(self.principle)] = np.nan
        return scores


def one_in(n: int) -> Callable[[str], bool]:
    """About one text in n, always the same ones."""
    return lambda text: zlib.crc32(text.encode()) % n == 0


def let_fail(monkeypatch: pytest.MonkeyPatch, principle: str, fails: Callable[[str], bool]) -> None:
    """Have what this process loads of preference models fail so."""
    load = train_pms.load_models
    for module in (train_pms, train_policy, workbench):
        monkeypatch.setattr(module, "load_models", lambda *args: Failing(load(*args), principle, fails))
