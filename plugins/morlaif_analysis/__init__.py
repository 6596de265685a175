"""Offers the commands that examine a run before its policy is trained: `fit-weights` and `preview`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from morlaif_core import Component, NoOptions, component, hookimpl

if TYPE_CHECKING:
    import click


def _fit_weights(options: NoOptions) -> click.Command:
    from .fit_weights.command import fit_weights

    return fit_weights


def _preview(options: NoOptions) -> click.Command:
    from .preview.command import preview

    return preview


@hookimpl
def morlaif_commands() -> Iterable[Component[click.Command]]:
    """Offer the commands."""
    return [
        component("fit-weights", _fit_weights, NoOptions, "fit the principles' weights to human labels"),
        component(
            "preview", _preview, NoOptions, "preview trade-offs before training: what each scalarizer would pick"
        ),
    ]
