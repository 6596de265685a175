"""What numbers about responses show of themselves."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from morlaif_core.testing import make_scores, memory_reward
from morlaif_core.types import asking, hashes, make_prompt, scores, texts


def test_scores_say_what_they_are() -> None:
    matrix = make_scores([[1.0, np.nan], [0.0, np.nan]], ["calm", "a<b"])
    assert repr(matrix) == "<ScoreMatrix of 2 responses: calm 0.5 ± 0.5, a<b nan ± nan (2 failed)>"
    shown = matrix._repr_html_()
    assert shown.count("<tr>") == 3
    assert "a&lt;b" in shown
    assert repr(make_scores(np.zeros((0, 1)))) == "<ScoreMatrix of 0 responses: p0 nan ± nan>"


def test_a_batch_says_what_it_is() -> None:
    batch = memory_reward(lambda prompt, response: len(response))([make_prompt("Hi")] * 2, ["a", "abc"])
    assert repr(batch) == "<RewardBatch: reward 2 ± 1, <ScoreMatrix of 2 responses: reward 2 ± 1>>"


@pytest.mark.parametrize("module", [asking, hashes, scores, texts])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
