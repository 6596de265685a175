"""A preview as text: tables that rich draws where there is a terminal, then what they say in sentences."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import click

from morlaif_core import format_interval, print_table

from ..failed import by_principle
from .labels import NO_WEIGHT, principle_label, rewarded

PLAIN_COLUMNS = 4
"""Principles of a table without a terminal."""
CELL = 28
"""Characters of a score with its gain."""
OFTEN = 0.10
"""Share of the prompts from which on two choices differ."""
BELOW = 0.025
"""Share of 95 % intervals that lie below the truth."""
NAMED = 5
"""Pairs of choices that are named."""


def show_preview(result: Mapping[str, Any]) -> None:
    """Print the tables and sentences of a preview."""
    click.echo(
        f"best of {result['responses']} responses, {result['prompts']:,} prompts; scores are those of the preference "
        "models that also select (in sample)"
    )
    if result["failed"]["prompts"]:
        click.echo(
            f"{result['failed']['prompts']:,} more prompts are left out: a response has no score "
            f"({by_principle(result['failed']['principles'])})"
        )
    _show_scores(result)
    _show_choices(result)
    _show_conflict(result)
    if any("judged" in row for row in result["scalarizers"].values()):
        _show_judged(result)
    click.echo()
    for line in [*differing(result), *sacrifices(result), *_left_out(result)]:
        click.echo(line)


def _show_scores(result: Mapping[str, Any]) -> None:
    """Mean score of the picks and gain over a random response, a few principles a table."""
    baseline, names = result["baseline"], [_marked(result, name) for name in result["scalarizers"]]
    width = _principles_a_table(max(map(len, names)))
    for start in range(0, len(result["principles"]), width):
        principles = result["principles"][start : start + width]
        rows = [
            ["random response", *(f"{baseline['random'][item]:.2f}" for item in principles)],
            ["best for it alone", *(f"{baseline['best'][item]:.2f}" for item in principles)],
        ]
        for name, row in zip(names, result["scalarizers"].values(), strict=True):
            rows.append([name, *(_score(row, item) for item in principles)])
        print_table(
            ["picks of", *(principle_label(result, item) for item in principles)],
            rows,
            "\nmean calibrated score of the picks, and gain over a random response [95 %]; !: sacrificed",
            wrap=True,
        )
    click.echo(by_chance(result))
    if result["unrewarded"]:
        click.echo(NO_WEIGHT)


def by_chance(result: Mapping[str, Any]) -> str:
    """Say how many intervals there are: each has its own 2.5 % above it, whatever the others show."""
    count = len(result["scalarizers"]) * len(rewarded(result))
    return f"each of {count} intervals stands alone: were all gains 0, {BELOW * count:.1f} would lie below 0 by chance"


def _principles_a_table(name: int) -> int:
    if not sys.stdout.isatty():
        return PLAIN_COLUMNS
    return max(1, (shutil.get_terminal_size().columns - name - 4) // (CELL + 3))


def _score(row: Mapping[str, Any], principle: str) -> str:
    gain = row["gain"][principle]
    text = f"{row['scores'][principle]['mean']:.2f} {gain['mean']:+.2f} {_interval(gain['ci95'])}"
    return text + (" !" if principle in row["sacrificed"] else "")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"[{bounds[0]:+.2f}, {bounds[1]:+.2f}]"


def _marked(result: Mapping[str, Any], name: str) -> str:
    return f"{name} (configured)" if name == result["settings"]["configured"] else name


def _show_choices(result: Mapping[str, Any]) -> None:
    """Front, hypervolume and regret of each choice."""
    names, matrix = result["regret"]["names"], result["regret"]["deviations"]
    rows, alone = [], len(names) == 1 or len(rewarded(result)) == 1  # then there is no front
    for name, row in result["scalarizers"].items():
        column = names.index(name)
        lost = {other: matrix[i][column] for i, other in enumerate(names) if other != name}
        worst = max(lost, key=lambda other: lost[other]) if lost else None
        rows.append(
            [
                _marked(result, name),
                "-" if alone else "yes" if row["on_front"] else "no",
                "-" if alone else _percent(row["hypervolume_share"]),
                f"{sum(lost.values()) / len(lost):.2f}" if lost else "-",
                f"{lost[worst]:.2f} under {worst}" if worst and round(lost[worst], 2) > 0 else "-",
            ]
        )
    print_table(
        ["picks of", "on the front", "hypervolume only it adds", "mean regret", "largest regret"],
        rows,
        "\nPareto front of the mean scores, and what the picks lose when another scalarizer measures (in deviations of its "
        "reward)",
        wrap=True,
    )


def _show_conflict(result: Mapping[str, Any]) -> None:
    matrix = result["conflict"]["correlation"]
    principles = [principle_label(result, item) for item in result["principles"]]
    rows = [
        [name, *("-" if value is None else f"{value:+.2f}" for value in row)]
        for name, row in zip(principles, matrix, strict=True)
    ]
    print_table(["", *principles], rows, "\nconflict: correlation of the scores of a prompt's responses", wrap=True)
    for note in [*result["conflict"]["notes"], *result["front"]["notes"]]:
        click.echo(f"note: {note}")


def _show_judged(result: Mapping[str, Any]) -> None:
    judged = {name: row["judged"] for name, row in result["scalarizers"].items() if "judged" in row}
    principles = list(next(iter(judged.values())))
    rows = [[_marked(result, name), *(_win(row[item]) for item in principles)] for name, row in judged.items()]
    print_table(
        ["picks of", *(principle_label(result, item) for item in principles)],
        rows,
        "\njudged: mean P(pick preferred to an ordinary response) [95 %], "
        f"{result['settings']['judged_prompts']:,} prompts; 0.5: no gain; not in sample",
        wrap=True,
    )


def _win(cell: Mapping[str, Any]) -> str:
    if cell["mean"] is None:
        return "-"
    return f"{cell['mean']:.3f} {format_interval(cell['ci95'])} n={cell['n']:,}"


def differing(result: Mapping[str, Any]) -> list[str]:
    """Say how often two choices pick different responses, and which do most; `single` ones do anyway."""
    names, share = result["differ"]["names"], result["differ"]["share"]
    pairs = sorted(((share[i][j], names[i], names[j]) for i, j in combinations(range(len(names)), 2)), reverse=True)
    if not pairs:
        return []
    often = sum(value >= OFTEN for value, _, _ in pairs)
    lines = [f"{often} of {len(pairs)} pairs of choices pick different responses on {OFTEN:.0%} of the prompts or more"]
    single = {name for name, block in result["settings"]["scalarizers"].items() if block["use"] == "single"}
    named = [(value, a, b) for value, a, b in pairs if value > 0 and not {a, b} & single][:NAMED]
    if named:
        lines.append("most among those of several principles: " + _pairs(named))
    return lines


def _pairs(pairs: Sequence[tuple[float, str, str]]) -> str:
    return "; ".join(f"{a} and {b} on {value:.0%}" for value, a, b in pairs)


def sacrifices(result: Mapping[str, Any]) -> list[str]:
    """Say of each principle which choices sacrifice it: its picks score lower than a random response."""
    lines, spared = [], []
    for principle in rewarded(result):
        by = {name: row for name, row in result["scalarizers"].items() if principle in row["sacrificed"]}
        if by:
            who = ", ".join(f"{name} ({row['gain'][principle]['mean']:+.2f})" for name, row in by.items())
            lines.append(f"{principle} is sacrificed by {who}")
        else:
            spared.append(principle)
    if spared:
        lines.append(f"nobody sacrifices {', '.join(spared)}")
    return lines


def _left_out(result: Mapping[str, Any]) -> list[str]:
    return [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
