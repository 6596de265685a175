"""Print what `morlaif fit-weights` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from morlaif_core import format_interval, format_number, print_table

from ..failed import by_principle

CALLED = {"fitted": "fitted", "equal": "equal weights", "own": "the run's own weights", "best_single": "best single"}


def show_weights(found: Mapping[str, Any]) -> None:
    """Print the principles, the held-out comparison, the curve and what follows."""
    sizes = found["choices"]
    click.echo(
        f"{sizes['n']:,} human choices ({sizes['decided']:,} decided) on {sizes['prompts']:,} prompts; fitted on "
        f"{sizes['fitted_on']:,}, held out {sizes['held_out']:,}; penalty {found['penalty']['chosen']:g}"
    )
    if found["failed"]["choices"]:
        failed = found["failed"]
        click.echo(
            f"{failed['choices']:,} more are left out: a response has no score ({by_principle(failed['principles'])})"
        )
    click.echo()
    _show_principles(found)
    _show_held_out(found)
    orders = found["orders"]
    click.echo(f"\naccuracy with the first j principles, mean over {orders:,} order{'s' if orders > 1 else ''}:")
    click.echo("  " + "  ".join(f"{count}: {value:.3f}" for count, value in enumerate(found["curve"])))
    slope = found["slope"]
    click.echo(
        f"\nslope {slope['mean']:.3f} {format_interval(slope['ci95'])}: logits of the human's choice for each unit of the "
        "weighted score"
    )
    for name, why in found["left_out"].items():
        click.echo(f"{name} is left out: {why}")
    for finding in found["findings"]:
        click.echo(finding["text"])


def _show_principles(found: Mapping[str, Any]) -> None:
    columns = ["principle", "weight", "coefficient", "signed", "sign", "VIF", "gain"]
    rows = [
        [
            name,
            format_number(block["weight"]),
            f"{format_number(block['coefficient'])} {format_interval(block['ci95'])}",
            f"{format_number(block['signed']['coefficient'])} {format_interval(block['signed']['ci95'])}",
            f"{block['sign_stability']:.0%}",
            format_number(block["vif"], 1),
            _signed(block["gain"]),
        ]
        for name, block in found["principles"].items()
    ]
    print_table(columns, rows, wrap=True)
    _note(
        "coefficient: logits of the human's choice for each calibrated unit, with its 95 % interval. signed: the same "
        "without penalty, where it may be below 0. sign: share of the resamples with that sign. VIF: above 10 hardly told "
        "apart from the others. gain: in accuracy, cross-validated, over orders of the principles."
    )


def _show_held_out(found: Mapping[str, Any]) -> None:
    rows: list[Sequence[str]] = []
    for name, title in CALLED.items():
        if name not in found["held_out"]:
            continue
        block = found["held_out"][name]
        called = f"{title}: {block['principle']}" if "principle" in block else title
        gains = [_signed(block[key]) if key in block else "-" for key in ("gain", "log_loss_gain")]
        accuracy = f"{format_number(block['accuracy']['mean'])} {format_interval(block['accuracy']['ci95'])}"
        rows.append([called, accuracy, format_number(block["log_loss"]["mean"]), *gains])
    sizes = found["choices"]
    click.echo(f"\non {sizes['held_out']:,} held-out choices ({sizes['held_out_decided']:,} decided):")
    print_table(
        ["weights", "accuracy", "log loss", "accuracy gained by the fit", "log loss saved by it"], rows, wrap=True
    )


def _signed(figure: Mapping[str, Any]) -> str:
    return f"{figure['mean']:+.3f} {format_interval(figure['ci95'])}"


def _note(text: str) -> None:
    import textwrap

    click.echo(textwrap.fill(text, 120))
