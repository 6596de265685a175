"""The preview's picture of the front: which panels, which line, labels that can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morlaif_analysis.preview.best_of_n import Grid
from morlaif_analysis.preview.front_picture import best_line, front_figure, panels, ranges
from morlaif_analysis.preview.show_preview import show_preview
from morlaif_analysis.preview.trade_offs import trade_offs


def made_result(choices: int, seed: int, names: tuple[str, ...] = ("a", "b", "c")) -> dict[str, Any]:
    """A result with a few principles and crowded points."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(choices, len(names))) * rng.choice([0.03, 1.0], size=(choices, 1))
    values = np.repeat(means[None], 20, axis=0)
    rewards = {f"choice {i}": np.tile(np.arange(choices) == i, (20, 1)).astype(np.float64) for i in range(choices)}
    grid = Grid(values, names, tuple(map(str, range(20))))
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


def test_long_names_stay_in_their_panels() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    names = (
        "does_not_reveal_private_information",
        "answers_what_was_asked_and_no_more_than_that",
        "kind",
        "short_of_it",
    )
    figure = front_figure(made_result(20, 0, names))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 6
    words = [(axes, axes.get_tightbbox(renderer, bbox_extra_artists=[])) for axes in shown]
    for i, (_, one) in enumerate(words):
        assert not any(one.overlaps(other) for _, other in words[:i])
    for axes in shown:
        for text in axes.texts:
            box = Text.get_window_extent(text, renderer)
            assert axes.bbox.padded(3).contains(box.x0, box.y0)
            assert axes.bbox.padded(3).contains(box.x1, box.y1)
    plt.close(figure)


def test_equal_scores_have_plain_axes() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    values = np.full((50, 3, 2), 0.1)
    rewards = {name: np.random.default_rng(0).normal(size=(50, 3)) for name in ("x", "y")}
    grid = Grid(values, ("a", "b"), tuple(map(str, range(50))))
    figure = front_figure({**trade_offs(grid, rewards, 0), "settings": {"configured": None}})
    figure.draw_without_rendering()
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert axis.get_offset_text().get_text() == ""
        assert {len(label.get_text()) for label in axis.get_ticklabels()} <= set(range(8))
    plt.close(figure)


def test_text_of_one_principle_says_nothing_of_a_front(capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).normal(size=(20, 3, 1))
    grid = Grid(values, ("a",), tuple(map(str, range(20))))
    settings = {"configured": None, "judged_prompts": None, "scalarizers": {"x": {"use": "x"}, "y": {"use": "y"}}}
    rewards = {"x": values[:, :, 0], "y": 2 * values[:, :, 0]}
    show_preview({**trade_offs(grid, rewards, 0), "settings": settings, "left_out": {}, "failed": {"prompts": 0}})
    (row,) = [line.split() for line in capsys.readouterr().out.split("Pareto")[1].splitlines() if line.startswith("y ")]
    assert row == ["y", "-", "-", "0.00", "-"]


def test_panels_begin_with_the_worst_conflict() -> None:
    result = {
        "principles": ["a", "b", "c", "d"],
        "unrewarded": ["d"],
        "conflict": {"correlation": [[1, 0.2, None, -1], [0.2, 1, -0.5, -1], [None, -0.5, 1, -1], [-1] * 4]},
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
