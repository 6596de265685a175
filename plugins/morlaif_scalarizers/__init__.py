"""Offers the scalarizers: what turns the K calibrated scores of a response into one reward."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from morlaif_core import Component, NoOptions, Options, Scalarizer, component, hookimpl


class LexicographicOptions(Options):
    """Options of `lexicographic`."""

    temperature: float = Field(0.1, gt=0, description="width of the step at each threshold, in calibrated units")


def build_weighted(options: NoOptions) -> Scalarizer:
    """Build the weighted sum."""
    from .weighted import weighted

    return weighted


def build_max_min(options: NoOptions) -> Scalarizer:
    """Build the worst-case scalarizer."""
    from .max_min import max_min

    return max_min


def build_lexicographic(options: LexicographicOptions) -> Scalarizer:
    """Build the thresholded lexicographic order."""
    from .lexicographic import Lexicographic

    return Lexicographic(options.temperature)


@hookimpl
def morlaif_scalarizers() -> Iterable[Component[Scalarizer]]:
    """Offer the scalarizers."""
    return [
        component("weighted", build_weighted, NoOptions, "the weighted sum", uses=frozenset({"weight"}), monotone=True),
        component(
            "max_min",
            build_max_min,
            NoOptions,
            "the worst principle's margin",
            uses=frozenset({"threshold"}),
            monotone=True,
        ),
        component(
            "lexicographic",
            build_lexicographic,
            LexicographicOptions,
            "the first principle up to its threshold, then the next",
            uses=frozenset({"threshold", "priority"}),
            monotone=True,
        ),
    ]
