"""A preview's pictures: heat maps of scores, conflict, difference and regret, and the front (`front_picture`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morlaif_core import Doubles

from .labels import NO_WEIGHT, principle_label, rewarded

if TYPE_CHECKING:
    from collections.abc import Mapping


DPI = 90
DIVERGING, SEQUENTIAL = "RdBu", "Blues"
"""Both read right with every common colour blindness."""
LONG = 20
"""Characters from which on a column's name is written aslant."""
ROUNDING = 1e-9
DARK = 0.45
"""Luminance below which text on a colour is white."""


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write scores, conflict, front, differ and regret.png from what preview.json holds; returns the files.

    One principle alone has no front to draw, and one of weight 0 is in none.
    """
    import matplotlib as mpl

    # Files alone: there may be no display.
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from .front_picture import front_figure

    figures = {
        "scores": scores_figure(result),
        "conflict": conflict_figure(result),
        "front": front_figure(result) if len(rewarded(result)) > 1 else None,
        "differ": differ_figure(result),
        "regret": regret_figure(result),
    }
    files = []
    for name, figure in figures.items():
        file = folder / f"{name}.png"
        # Also where nothing is drawn now: an old picture would pass for this result's.
        file.unlink(missing_ok=True)
        if figure is not None:
            # Without the tag of matplotlib's version, a picture changes with its numbers alone.
            figure.savefig(file, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
            files.append(file)
    return files


def scores_figure(result: Mapping[str, Any]) -> Any:
    """Gain of the picks over a random response, choices by principles; a frame: sacrificed."""
    choices, principles = result["scalarizers"], result["principles"]
    gains = np.array([[row["gain"][item]["mean"] for item in principles] for row in choices.values()])
    baseline = result["baseline"]
    names = [principle_label(result, item) for item in principles]
    longest = max(map(len, names))
    ends = "{}\nrandom {:.2f}\nbest {:.2f}" if longest < LONG else "{} (random {:.2f}, best {:.2f})"
    # Adding 0.0 makes -0.0 a plain zero.
    columns = [
        ends.format(name, *(round(baseline[which][item], 2) + 0.0 for which in ("random", "best")))
        for item, name in zip(principles, names, strict=True)
    ]
    bound = _largest(gains)
    figure, axes = _heat_map(
        gains,
        list(map(_marks(result), choices)),
        columns,
        (DIVERGING, -bound, bound),
        "{:+.2f}",
        cell=(max(0.85, 0.066 * longest) if longest < LONG else 0.6, 0.25),
    )
    _frames(axes, [[item in row["sacrificed"] for item in principles] for row in choices.values()])
    axes.set_ylabel("picks of", fontsize=8)
    _title(
        axes,
        f"Mean score of the picks, gain over a random response\nbest of {result['responses']}, {result['prompts']:,} "
        f"prompts, in sample; framed: sacrificed{_starred(result)}{_no_weight(result)}",
    )
    _colour_bar(figure, axes, "gain (calibrated score)")
    return figure


def conflict_figure(result: Mapping[str, Any]) -> Any:
    """Correlation between principles; hatched where a principle never varies."""
    principles = [principle_label(result, item) for item in result["principles"]]
    values = np.array(
        [[np.nan if value is None else value for value in row] for row in result["conflict"]["correlation"]],
        dtype=np.float64,
    )
    figure, axes = _heat_map(values, principles, principles, (DIVERGING, -1.0, 1.0), "{:+.2f}", cell=(0.48, 0.38))
    _title(
        axes,
        "Conflict between principles: correlation of the scores\nof a prompt's responses (red: what helps one hurts the "
        f"other){_no_weight(result)}",
    )
    _colour_bar(figure, axes, "correlation")
    return figure


def differ_figure(result: Mapping[str, Any]) -> Any:
    """Share of the prompts on which two choices pick different responses, in percent."""
    names = list(map(_marks(result), result["differ"]["names"]))
    values = 100 * np.array(result["differ"]["share"], dtype=np.float64)
    figure, axes = _heat_map(values, names, names, (SEQUENTIAL, 0.0, max(float(values.max()), 1.0)), "{:.0f}")
    _title(axes, f"How often two choices pick different responses\n{result['prompts']:,} prompts{_starred(result)}")
    _colour_bar(figure, axes, "% of the prompts")
    return figure


def regret_figure(result: Mapping[str, Any]) -> Any:
    """Mean utility lost under one scalarizer (row) when another one picks (column)."""
    names = list(map(_marks(result), result["regret"]["names"]))
    values = np.array(result["regret"]["deviations"], dtype=np.float64)
    figure, axes = _heat_map(values, names, names, (SEQUENTIAL, 0.0, _largest(values)), "{:.1f}")
    axes.set_xlabel("picks of", fontsize=8)
    axes.set_ylabel("measured by the reward of", fontsize=8)
    _title(
        axes,
        "Regret: mean reward lost under the row's scalarizer\nwhen the column's one picks (in sample)"
        + _starred(result),
    )
    _colour_bar(figure, axes, "standard deviations of the reward")
    return figure


def _marks(result: Mapping[str, Any]) -> Any:
    return lambda name: f"{name} *" if name == result["settings"]["configured"] else name


def _starred(result: Mapping[str, Any]) -> str:
    return "; *: the run's own" if result["settings"]["configured"] else ""


def _largest(values: Doubles) -> float:
    """The end of a colour scale; 1 where all values are 0 but for the bits that a mean loses."""
    largest = float(np.abs(values).max())
    return largest if largest > ROUNDING else 1.0


def _no_weight(result: Mapping[str, Any]) -> str:
    return f"\n{NO_WEIGHT}" if result["unrewarded"] else ""


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=10, loc="left", pad=8)


def _heat_map(
    values: Doubles,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: tuple[str, float, float],
    form: str,
    cell: tuple[float, float] = (0.3, 0.25),
) -> tuple[Any, Any]:
    """A grid of coloured cells with their numbers. cell: inches; NaN: hatched, no number."""
    import matplotlib.pyplot as plt

    width, height = (
        max(1.5, cell[0] * len(columns)),
        max(1.4, cell[1] * len(rows)),
    )  # a colour bar's label needs so much
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))  # labels stand outside; saving makes room for them
    name, low, high = colours
    axes.patch.set(hatch="///", facecolor="white", edgecolor="0.7")
    image = axes.imshow(np.ma.masked_invalid(values), cmap=name, vmin=low, vmax=high, aspect="auto")
    for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
        red, green, blue, _ = image.cmap(image.norm(values[i, j]))
        # Luma of ITU-R BT.601.
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        text = form.format(values[i, j])
        axes.text(
            j,
            i,
            text.removeprefix("-") if not float(text) else text,
            ha="center",
            va="center",
            fontsize=7.5,
            color="wk"[int(light > DARK)],
        )
    if "\n" in columns[0]:
        axes.set_xticks(range(len(columns)), columns, fontsize=7.5)
    else:
        axes.set_xticks(range(len(columns)), columns, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(length=0)
    return figure, axes


def _frames(axes: Any, framed: Sequence[Sequence[bool]]) -> None:
    """Draw a frame around cells."""
    from matplotlib.patches import Rectangle

    for i, row in enumerate(framed):
        for j, yes in enumerate(row):
            if yes:
                axes.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.6))


def _colour_bar(figure: Any, axes: Any, text: str) -> None:
    width, _ = figure.get_size_inches()
    bar = figure.colorbar(axes.images[0], cax=axes.inset_axes((1 + 0.1 / width, 0.0, 0.12 / width, 1.0)))
    bar.set_label(text, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
