"""Offers the command `estimate`: what judging will take, before anything is paid.

`forecast` foresees which pairs a run will judge, `load` counts the requests and tokens of a judge, `power` says what so
many pairs can show; `estimate` puts them together and `show` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from morlaif_core import Component, NoOptions, component, hookimpl

if TYPE_CHECKING:
    import click


def _estimate(options: NoOptions) -> click.Command:
    from .command import estimate

    return estimate


@hookimpl
def morlaif_commands() -> Iterable[Component[click.Command]]:
    """Offer the command."""
    summary = "estimate requests, tokens, cost, and the smallest difference that so many pairs can show"
    return [component("estimate", _estimate, NoOptions, summary)]
