"""Offers the command `check-judges`: it tries judges on pairs whose winner is known before they are paid for.

`ask_judges` asks; `probes` are the pairs and what is changed in them; `evidence` holds what was said, as arrays; `measures`
makes figures of it, `grades` says which of them make a judge doubtful or not usable; `replay` tries a cascade at other
bounds; `results` puts a judge's results together and `show` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from morlaif_core import Component, NoOptions, component, hookimpl

if TYPE_CHECKING:
    import click


def _check_judges(options: NoOptions) -> click.Command:
    from .command import check_judges

    return check_judges


@hookimpl
def morlaif_commands() -> Iterable[Component[click.Command]]:
    """Offer the command."""
    summary = "test the judges before you pay: accuracy, bias, and what changes a verdict although it should not"
    return [component("check-judges", _check_judges, NoOptions, summary)]
