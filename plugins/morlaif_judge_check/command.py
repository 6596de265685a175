"""The command `check-judges`."""

from __future__ import annotations

from pathlib import Path

import click

from morlaif_core import open_judges


@click.command("check-judges")
@click.argument("configs", nargs=-1, metavar="[CONFIG]…")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change one value; VALUE is YAML. Repeatable.")
@click.option(
    "--judge",
    "only",
    multiple=True,
    metavar="NAME",
    help="Check only this judge, even if no principle uses it; repeatable.",
)
@click.option(
    "--pairs", type=click.IntRange(0), default=0, metavar="N", help="Also ask about N of the run's own pairs."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder; by default the run that is named, or runs/CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_judges(
    configs: tuple[str, ...], sets: tuple[str, ...], only: tuple[str, ...], pairs: int, out: Path | None, as_json: bool
) -> None:
    """Test the judges before you pay: accuracy, bias, and what changes a verdict although it should not.

    CONFIG as in `run`: files, shipped names, or a run. The judges are asked about the principles' example pairs;
    answers go into the run's ledger.
    """
    from .ask_judges import check_judges as check
    from .show import show_judges

    with open_judges(configs, sets, out, quiet=as_json) as bench:
        show_judges(check(bench, only, pairs), as_json)
