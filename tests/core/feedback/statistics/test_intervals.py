"""Intervals hold the truth about as often as they say, by seeded simulation: also where pairs of a prompt hang together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from morlaif_core.feedback.statistics.intervals import (
    Figure,
    mean_figure,
    number_prompts,
    share_figure,
    spread,
)
from morlaif_core.feedback.statistics.position_bias import SHOWN, hard_bias
from morlaif_judge_check.evidence import ratio_figure

RUNS = 2000


def drawn(draw: np.random.Generator, q: Any, b: float, samples: int) -> Any:
    """Picks (n, 2, 2) of a judge with position bias b on pairs of log-odds q."""
    first = np.stack([draw.binomial(samples, 1 / (1 + np.exp(-(side * q + b)))) for side in (1, -1)], axis=1)
    return np.stack([first, samples - first], axis=2).astype(float)


def holds(found: Figure, truth: float) -> bool:
    return (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)


@pytest.mark.parametrize("b", [-2.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("samples", [1, 5])
def test_the_interval_of_hard_verdicts_holds_the_bias(b: float, samples: int) -> None:
    """2,000 simulations of 1,156 pairs; a mean of log-odds would read 0.6 for 2 at one sample."""
    draw = np.random.default_rng(3)
    prompts = np.arange(1156)
    found = [hard_bias(drawn(draw, draw.normal(0, 1.5, 1156), b, samples), prompts) for _ in range(RUNS)]
    figures = [item.figure for item in found if item is not None]
    assert len(figures) == RUNS
    # The end away from 0 leaves room for a bias that differs from pair to pair.
    assert 0.93 <= np.mean([holds(figure, b) for figure in figures]) <= (0.97 if b == 0 else 0.99)
    assert np.mean([figure.mean for figure in figures if figure.mean is not None]) == pytest.approx(b, abs=0.05)


@pytest.mark.parametrize("b", [-0.5, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_the_interval_holds_the_mean_of_biases_that_differ(b: float, deviation: float) -> None:
    """1,156 pairs, five samples an order: for one bias alone the interval holds a mean of 1 in none of these runs."""
    draw = np.random.default_rng(10)
    held = 0
    for _ in range(200):
        found = hard_bias(drawn(draw, draw.normal(0, 1.5, 1156), draw.normal(b, deviation, 1156), 5), np.arange(1156))
        assert found is not None
        held += holds(found.figure, b)
    assert held / 200 >= 0.95


@pytest.mark.parametrize("b", [-1.0, 0.0, 2.0])
def test_prompts_whose_bias_differs_are_one_draw_each(b: float) -> None:
    """Four pairs a prompt, the bias of each prompt its own; the truth is that of all prompts taken together."""
    draw = np.random.default_rng(4)
    prompts = np.repeat(np.arange(200), 4)

    def pairs(count: int) -> Any:
        own = np.repeat(draw.normal(b, 0.7, count), 4)
        return drawn(draw, draw.normal(0, 1.5, 4 * count), own, 2)

    many = hard_bias(pairs(400_000), np.arange(1_600_000))
    assert many is not None
    truth = many.figure.mean
    assert truth is not None
    found = [hard_bias(pairs(200), prompts) for _ in range(RUNS)]
    assert np.mean([holds(item.figure, truth) for item in found if item is not None]) >= 0.93


@pytest.mark.parametrize("b", [4.0, -4.0])
def test_a_strong_bias_is_bounded_from_one_side(b: float) -> None:
    draw = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = hard_bias(drawn(draw, draw.normal(0, 1.5, 1156), b, 1), np.arange(1156))
        assert found is not None
        figure = found.figure
        near, far = (figure.low, figure.high) if b > 0 else (figure.high, figure.low)
        assert far is None
        assert near is not None
        assert abs(near) > 2
        assert found.note
        held += holds(figure, b)
    assert held / 200 >= 0.95


def test_one_sample_an_order_is_the_binomial_interval() -> None:
    """30 flips to the first, 10 to the second: Jeffreys' interval of 30 of 40, but for the t of 39 degrees."""
    counts = np.zeros((60, 2, 2))
    counts[:30, :, 0], counts[30:40, :, 1] = 1, 1
    counts[40:, 0, 0], counts[40:, 1, 1] = 1, 1
    found = hard_bias(counts, np.arange(60))
    assert found is not None
    assert found.figure.mean == pytest.approx(0.5 * np.log(3))
    low, high = stats.beta.ppf([0.025, 0.975], 30.5, 10.5)
    assert found.figure.low == pytest.approx(0.5 * np.log(low / (1 - low)), abs=0.03)
    assert found.figure.high == pytest.approx(0.5 * np.log(high / (1 - high)) / SHOWN, abs=0.03)
    assert hard_bias(counts[40:], np.arange(20)) is None


def test_ties_of_hard_verdicts_drop_out() -> None:
    draw = np.random.default_rng(6)
    counts = drawn(draw, draw.normal(0, 1, 4000), 1.0, 4)
    counts -= draw.binomial(counts.astype(int), 0.4)
    found = hard_bias(counts, np.arange(4000))
    assert found is not None
    assert found.figure.mean == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize("groups", [12, 80])
def test_the_mean_of_rows_that_hang_together(groups: int) -> None:
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(RUNS):
        sizes = draw.integers(1, 5, groups)
        prompts = np.repeat(np.arange(groups), sizes)
        values = 0.3 + draw.normal(0, 1, groups)[prompts] + draw.normal(0, 1, len(prompts))
        held += holds(mean_figure(values, prompts), 0.3)
    assert 0.925 <= held / RUNS <= 0.97


@pytest.mark.parametrize(("share", "ties"), [(0.5, 0.0), (0.75, 0.0), (0.75, 0.5), (0.95, 0.0)])
@pytest.mark.parametrize("together", [False, True])
def test_a_share_of_rows_that_hang_together(share: float, ties: float, together: bool) -> None:
    """80 prompts of one to six pairs, those of a prompt alike or not, ties counted half."""
    draw = np.random.default_rng(8)
    held = 0
    for _ in range(RUNS):
        prompts = np.repeat(np.arange(80), draw.integers(1, 7, 80))
        own = draw.beta(share, 1 - share, 80) if together else np.full(80, share)
        hits = (draw.random(len(prompts)) < own[prompts]).astype(float)
        hits[draw.random(len(prompts)) < ties] = 0.5
        held += holds(share_figure(hits, prompts), share * (1 - ties) + 0.5 * ties)
    assert 0.92 <= held / RUNS <= 0.975


def test_a_ratio_of_rows_that_hang_together() -> None:
    draw = np.random.default_rng(9)
    held = 0
    for _ in range(RUNS):
        prompts = np.repeat(np.arange(60), 3)
        below = np.exp(draw.normal(0, 0.5, 60))[prompts] * draw.random(180)
        held += holds(ratio_figure(below * 0.4 + below * draw.normal(0, 0.3, 180), below, prompts), 0.4)
    assert 0.92 <= held / RUNS <= 0.975


def test_one_row_a_prompt_is_the_usual_error() -> None:
    values = np.random.default_rng(1).normal(size=30)
    known = spread(values - values.mean(), np.arange(30))
    assert known.error == pytest.approx(stats.sem(values))
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert mean_figure(values, np.arange(30))[1:] == pytest.approx((low, high))
    assert known.above(values.mean()) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)


def test_what_does_not_vary() -> None:
    """All rows equal: a mean is then exact, a share is not, and one prompt says nothing of its spread."""
    ones, apart = np.ones(20), np.arange(20)
    assert mean_figure(ones, apart) == (1.0, 1.0, 1.0)
    low, high = share_figure(ones, apart)[1:]
    expected = stats.binomtest(20, 20).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean_figure(ones, np.zeros(20, dtype=int)) == (1.0, None, None)
    assert spread(np.zeros(20), apart).above(0.1) == 0
    assert spread(np.zeros(20), apart).above(-0.1) == 1


def test_prompts_are_numbered_as_they_come() -> None:
    assert number_prompts(["b", "a", "b"]).tolist() == [0, 1, 0]


def test_an_interval_of_a_mean_stays_in_the_rows_range() -> None:
    few = np.array([1.0, 0.2]), np.arange(2)
    plain, bounded = mean_figure(*few), mean_figure(*few, within=(-1, 1))
    assert plain.low is not None
    assert plain.low < -1
    assert (bounded.mean, bounded.low, bounded.high) == (plain.mean, -1, 1)
    assert mean_figure(*few, within=(-9, 9)) == plain
