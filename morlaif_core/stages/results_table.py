"""The table at the end of a run, and of an evaluation on other prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from morlaif_core.runs.progress import Screen
from morlaif_core.runs.tables import change, format_interval, measured, print_table


def show_results(results: Mapping[str, Any], screen: Screen) -> None:
    """Print, by principle, judge and preference model before and after. results: the blocks of results.json."""
    from morlaif_core.stages.pm_accuracy import at_chance, shown_accuracy

    policy, models = results.get("policy"), results.get("preference_models", {})
    if not policy or screen.quiet:
        return
    interval = "95 % interval"
    columns = [
        *("principle", f"PM accuracy, {interval}", "after training (majority)", "judge score"),
        *(f"difference, {interval}", f"win rate, {interval}", "PM score"),
    ]
    rows = [
        [
            name,
            shown_accuracy(models.get(name, {})),
            _beside(block.get("pm_accuracy"), block.get("pm_majority")),
            change(block.get("judge_before"), block.get("judge_after"), 3),
            measured(block.get("judge_difference"), _interval(block, "judge_difference_ci95")),
            measured(block.get("win_rate"), _interval(block, "win_rate_ci95")),
            change(block.get("pm_before"), block.get("pm_after"), 2),
        ]
        for name, block in policy.items()
    ]
    print_table(columns, rows, "\non held-out prompts, judged in both orders:")
    judged = sum(block.get("win_rate_ci95_adjusted") is not None for block in policy.values())
    if judged > 1:
        click.echo(
            f"intervals of the judge adjusted for {judged} principles (Bonferroni): all of a column hold together in "
            "95 % of runs"
        )
    if chance := at_chance(models):
        click.echo(f"warning: {chance}")
    win, length = results["win_rate"], results["length"]
    if win["overall"] is not None:
        click.echo(
            f"overall win rate {win['overall']:.3f} {format_interval(win['ci95'])} over {win['n']} prompts (0.5: no change)"
        )
    click.echo(f"mean length {length['before']:.1f} -> {length['after']:.1f} words")
    # A run of an earlier version did not count them.
    if "ended" in results:
        share = change(results["ended"]["before"], results["ended"]["after"], 2)
        click.echo(f"share of answers that ended {share} (the others were cut off)")


def _interval(block: Mapping[str, Any], name: str) -> Any:
    """The adjusted interval; of a run made before there was one, the plain one."""
    return block.get(f"{name}_adjusted", block.get(name))


def _beside(accuracy: float | None, majority: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f} ({majority:.2f})"
