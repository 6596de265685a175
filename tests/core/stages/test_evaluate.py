"""The numbers of the evaluation: overall win rate, intervals, labels that are missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from morlaif_core.stages.evaluate import _judge_block, _overall, _wins
from morlaif_core.stages.held_out_intervals import mean_interval, share_interval


def context(**weights: float) -> Any:
    principles = {name: SimpleNamespace(weight=weight) for name, weight in weights.items()}
    return SimpleNamespace(settings=SimpleNamespace(principles=principles))


def test_overall_is_the_weighted_mean_of_the_win_rates_beside_it() -> None:
    wins = {"a": np.array([1.0, 1.0, 0.0, np.nan]), "b": np.array([0.0, np.nan, 0.5, 1.0])}
    block = _overall(context(a=3.0, b=1.0), wins)
    assert block["overall"] == pytest.approx(0.75 * 2 / 3 + 0.25 * 0.5)
    assert block["n"] == 4
    assert block["ci95"][0] <= block["overall"] <= block["ci95"][1]


def test_a_principle_without_labels_leaves_no_overall_number() -> None:
    block = _overall(context(a=1.0, b=1.0), {"a": np.array([1.0, 0.0]), "b": np.array([np.nan, np.nan])})
    assert block["overall"] is None
    assert "b" in block["notes"]["overall"]


def test_weight_zero_does_not_count() -> None:
    block = _overall(context(a=1.0, b=0.0), {"a": np.array([1.0, 1.0]), "b": np.array([0.0, 0.0])})
    assert block["overall"] == 1.0


def test_wins_count_ties_half_and_missing_labels_not_at_all() -> None:
    assert _wins(np.array([0.9, 0.5, 0.2])).tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(_wins(np.array([np.nan]))).all()
    block = _judge_block(
        np.array([0.5, np.nan, 0.4]), np.array([0.9, 0.8, np.nan]), _wins(np.array([0.9, 0.8, np.nan]))
    )
    assert block["n"] == 1
    assert block["judge_difference"] == pytest.approx(0.4)
    assert block["win_rate"] == 1.0


def test_the_bootstrap_covers_the_mean() -> None:
    """200 samples of a known mean: the 95 % interval holds it about as often as it says."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = mean_interval(random.normal(0.3, 1.0, size=80))
        held += low <= 0.3 <= high
    assert 180 <= held <= 199


def test_pairs_of_one_prompt_are_not_independent() -> None:
    """Six pairs a prompt that stand or fall together: the interval is as wide as that of the prompts alone."""
    per_prompt = np.array([1.0] * 30 + [0.0] * 10)
    alone = share_interval(per_prompt, [str(number) for number in range(40)])
    together = share_interval(np.repeat(per_prompt, 6), [str(number) for number in range(40) for _ in range(6)])
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=0.15)
