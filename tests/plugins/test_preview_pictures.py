"""The preview's picture of the front: which panels, which line, labels that can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morlaif_analysis.preview.best_of_n import Grid
from morlaif_analysis.preview.front_picture import best_line, front_figure, panels, ranges
from morlaif_analysis.preview.trade_offs import trade_offs


def made_result(choices: int, seed: int) -> dict[str, Any]:
    """A result with three principles and crowded points."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(choices, 3)) * rng.choice([0.03, 1.0], size=(choices, 1))
    values = np.repeat(means[None], 20, axis=0)
    rewards = {f"choice {i}": np.tile(np.arange(choices) == i, (20, 1)).astype(np.float64) for i in range(choices)}
    grid = Grid(values, ("a", "b", "c"), tuple(map(str, range(20))))
    return {**trade_offs(grid, rewards, 0), "settings": {"configured": None}}


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_the_front_lie_apart(seed: int) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    figure = front_figure(made_result(20, seed))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]  # without its arrow
        numbers = [part for text in axes.texts for part in text.get_text().replace("-", ",").split(",")]
        assert numbers
        for i, one in enumerate(boxes):
            assert not any(one.overlaps(other) for other in boxes[:i])
    plt.close(figure)


def test_panels_begin_with_the_worst_conflict() -> None:
    result = {
        "principles": ["a", "b", "c"],
        "conflict": {"correlation": [[1, 0.2, None], [0.2, 1, -0.5], [None, -0.5, 1]]},
    }
    assert panels(result) == [("b", "c"), ("a", "b"), ("a", "c")]


def test_line_of_the_best_is_what_a_double_loop_keeps() -> None:
    points = np.random.default_rng(0).integers(0, 6, size=(30, 2)).astype(np.float64)
    kept = {tuple(p) for p in points if not any((q >= p).all() and (q > p).any() for q in points)}
    line = best_line(points)
    assert {tuple(p) for p in line} == kept
    assert np.all(np.diff(line[:, 0]) > 0)


def test_numbers_of_a_label_are_short() -> None:
    assert ranges([1, 3, 4, 5, 7, 8]) == "1,3-5,7,8"
