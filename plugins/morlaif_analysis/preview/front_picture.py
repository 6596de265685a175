"""The trade-offs as a picture: the picks' mean scores, two principles a panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from math import ceil, cos, pi, sin
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from morlaif_core import Doubles

from .labels import rewarded

if TYPE_CHECKING:
    pass


MOST_PANELS = 6
OWN = " (the run's own)"
SIDE, KEY = 3.1, 2.2
"""Inches of a panel, and of the key."""
DECIMALS = 9
UNIT = "(calibrated score)"
LINE = 32
"""Characters of a line of an axis's label."""
NEAR = 9.0
"""Pixels within which points share a label."""
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"
"""Okabe and Ito's colours, apart under every colour blindness."""
Box: TypeAlias = tuple[float, float, float, float]


def front_figure(result: Mapping[str, Any]) -> Any:
    """Panels of the most conflicting pairs of principles, at most six; choices are numbered, the key is on the right."""
    import matplotlib.pyplot as plt

    names, pairs = list(result["scalarizers"]), panels(result)
    columns = min(3, len(pairs))
    rows = ceil(len(pairs) / columns)
    size = (SIDE * columns + KEY, SIDE * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    all_axes = list(grid.flat)
    for axes, pair in zip(all_axes, pairs, strict=False):
        _panel(axes, result, pair)
    for axes in all_axes[len(pairs) :]:
        axes.set_axis_off()
    _key(figure, result, names)
    made_of = f"best of {result['responses']}, {result['prompts']:,} prompts (in sample)"
    gap = ", " if columns > 1 else "\n"
    figure.suptitle(f"Trade-offs: mean scores of the picks{gap}{made_of}", fontsize=10, x=0.01, ha="left")
    # Where the panels lie is settled first: the points' labels find their places in it.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, pair in zip(all_axes, pairs, strict=False):
        _label(axes, _points(result, pair), [result["baseline"]["random"][item] for item in pair])
    return figure


def panels(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pairs of principles of the reward, the most conflicting first; pairs without a correlation last."""
    matrix, names = result["conflict"]["correlation"], rewarded(result)
    pairs = list(combinations((i for i, name in enumerate(result["principles"]) if name in names), 2))
    pairs.sort(key=lambda pair: 2.0 if matrix[pair[0]][pair[1]] is None else matrix[pair[0]][pair[1]])
    return [(result["principles"][i], result["principles"][j]) for i, j in pairs[:MOST_PANELS]]


def _points(result: Mapping[str, Any], pair: tuple[str, str]) -> Doubles:
    """Mean scores (choices, 2), without the bits that a mean loses."""
    means = [[row["scores"][item]["mean"] for item in pair] for row in result["scalarizers"].values()]
    points: Doubles = np.array(means, dtype=np.float64).round(DECIMALS)
    return points


def best_line(points: Doubles) -> Doubles:
    """The points that no other one is as good as in both coordinates and better in one, from left to right."""
    # From right to left: a point is on the line if it lies above all that are further right.
    order = np.lexsort((-points[:, 1], -points[:, 0]))
    kept, top = [], -np.inf
    for index in order:
        if points[index, 1] > top:
            kept.append(points[index])
            top = points[index, 1]
    return np.array(kept[::-1])


def _panel(axes: Any, result: Mapping[str, Any], pair: tuple[str, str]) -> None:
    points, baseline = _points(result, pair), result["baseline"]
    line = best_line(points)
    axes.plot(line[:, 0], line[:, 1], color=BLUE, linewidth=1, alpha=0.6, zorder=1)
    on_front = np.array([row["on_front"] for row in result["scalarizers"].values()])
    axes.scatter(*points[on_front].T, s=20, color=BLUE, zorder=3)
    axes.scatter(*points[~on_front].T, s=20, facecolor="white", edgecolor=BLUE, zorder=3)
    axes.scatter(
        *(round(baseline["random"][item], DECIMALS) for item in pair), s=45, marker="x", color=ORANGE, zorder=3
    )
    axes.axvline(round(baseline["best"][pair[0]], DECIMALS), color=ORANGE, linestyle="--", linewidth=0.9, zorder=0)
    axes.axhline(round(baseline["best"][pair[1]], DECIMALS), color=ORANGE, linestyle="--", linewidth=0.9, zorder=0)
    axes.margins(0.16)
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel(_axis_label(pair[0]), fontsize=8)
    axes.set_ylabel(_axis_label(pair[1]), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _axis_label(name: str) -> str:
    """Break a label into lines, a long name at its underscores."""
    lines = wrap(name.replace("_", "_\t"), LINE, expand_tabs=False, replace_whitespace=False)
    text = "\n".join(line.replace("\t", "") for line in lines)
    gap = " " if len(name) + len(UNIT) < LINE else "\n"
    return f"{text}{gap}{UNIT}"


def _key(figure: Any, result: Mapping[str, Any], names: Sequence[str]) -> None:
    """The numbers' names, and what the marks mean."""
    from matplotlib.lines import Line2D

    configured = result["settings"]["configured"]
    marks = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=5, label="on the front of all principles"),
        Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=5, markerfacecolor="white", label="not on it"),
        Line2D([], [], color=BLUE, alpha=0.6, label="the best for these two"),
        Line2D([], [], color=ORANGE, marker="x", linestyle="", markersize=7, label="random response"),
        Line2D([], [], color=ORANGE, linestyle="--", label="best for one alone"),
    ]
    numbered = [
        Line2D([], [], linestyle="", label=f"{number}  {name}{OWN if name == configured else ''}")
        for number, name in enumerate(names, 1)
    ]
    figure.legend(
        handles=[*marks, *numbered],
        loc="outside right upper",
        fontsize=7.5,
        frameon=False,
        handlelength=1.6,
        labelspacing=0.35,
    )


def _label(axes: Any, points: Doubles, random: Sequence[float]) -> None:
    """Number the points; those that lie together share a label, and no label lies on another or on a point."""
    # Only drawn axes know where their points lie in pixels.
    axes.figure.canvas.draw()
    places = axes.transData.transform(points)
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in [*places, axes.transData.transform(random)]]
    for members in _together(places):
        text = ranges([member + 1 for member in members])
        centre = places[members].mean(axis=0)
        size = (sum(6.0 if sign.isdigit() else 3.2 for sign in text) + 2, 10.0)
        box = next(_free(centre, size, taken, axes.bbox.extents))
        taken.append(box)
        away = (np.array([box[0] + box[2], box[1] + box[3]]) / 2 - centre) * 72 / axes.figure.dpi
        axes.annotate(
            text,
            points[members].mean(axis=0),
            away,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=6.5,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
        )


def _together(places: Doubles) -> list[list[int]]:
    """Group the points that lie near the first of their group."""
    groups: list[list[int]] = []
    for index, place in enumerate(places):
        near = [group for group in groups if np.linalg.norm(places[group[0]] - place) < NEAR]
        if near:
            near[0].append(index)
        else:
            groups.append([index])
    return groups


def _free(centre: Doubles, size: tuple[float, float], taken: Sequence[Box], panel: Sequence[float]) -> Iterator[Box]:
    """Boxes around a point that touch nothing and lie in the panel, the nearest first; at last one that does not."""
    width, height = size
    box = (0.0, 0.0, 0.0, 0.0)
    for step in range(1, 15):
        for turn in range(16):
            angle = pi / 4 + turn * pi / 8
            x = centre[0] + cos(angle) * (width / 2 + 5 * step)
            y = centre[1] + sin(angle) * (height / 2 + 5 * step)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            inside = panel[0] <= box[0] and panel[1] <= box[1] and box[2] <= panel[2] and box[3] <= panel[3]
            if inside and not any(box[0] < c and a < box[2] and box[1] < d and b < box[3] for a, b, c, d in taken):
                yield box
    yield box


def ranges(numbers: Sequence[int]) -> str:
    """Write sorted numbers shortly: ``1,3-5``."""
    parts = []
    for _, group in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)))
    return ",".join(parts)
