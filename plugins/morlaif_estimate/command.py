"""The command `estimate`."""

from __future__ import annotations

from pathlib import Path

import click

from morlaif_core import open_judges, print_json


@click.command("estimate")
@click.argument("configs", nargs=-1, metavar="[CONFIG]…")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change one value; VALUE is YAML. Repeatable.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder; by default the run that is named, or runs/CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimate(configs: tuple[str, ...], sets: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Estimate what judging will take: requests, tokens, cost, and the smallest difference that so many pairs can show.

    CONFIG as in `run`: files, shipped names, or a run. Where the run folder is there, its own pairs are counted, and
    what its ledger holds is taken off.
    """
    from .estimate import estimate as estimated
    from .show import show_estimate

    with open_judges(configs, sets, out, hold=False, quiet=True) as bench:
        found = estimated(bench)
    if as_json:
        print_json(found)
    else:
        show_estimate(found)
