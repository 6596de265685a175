"""Offers the scalarizers: what turns the K calibrated scores of a response into one reward."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from morlaif_core import Component, Need, NoOptions, Scalarizer, component, hookimpl

from . import options as o

Uses = frozenset[Literal["weight", "threshold", "priority"]]
WEIGHT: Uses = frozenset({"weight"})
THRESHOLD: Uses = frozenset({"threshold"})
WEIGHT_AND_THRESHOLD: Uses = WEIGHT | THRESHOLD
THRESHOLD_AND_PRIORITY: Uses = frozenset({"threshold", "priority"})
LINEAR: frozenset[Need] = frozenset({"linear"})


@hookimpl
def morlaif_scalarizers() -> Iterable[Component[Scalarizer]]:
    """Offer the scalarizers."""
    return [*_sums_and_minima(), *_welfare(), *_orders(), *_conditions()]


def _sums_and_minima() -> list[Component[Scalarizer]]:
    return [
        component(
            "weighted",
            o.build_weighted,
            NoOptions,
            "the weighted sum",
            supplies=LINEAR,
            uses=WEIGHT,
            monotone=True,
        ),
        component("max_min", o.build_max_min, NoOptions, "the worst principle's margin", uses=THRESHOLD, monotone=True),
        component(
            "soft_max_min",
            o.build_soft_max_min,
            o.SoftMaxMinOptions,
            "a smooth minimum",
            uses=WEIGHT,
            monotone=True,
        ),
        component(
            # Not declared monotone: the default lam is so for at most five principles of equal weight.
            "uncertainty_weighted",
            o.build_uncertainty_weighted,
            o.UncertaintyOptions,
            "the mean less a penalty for disagreement",
            uses=WEIGHT,
            needs_for=lambda options: frozenset({"spread"}) if options.ensemble else frozenset(),
        ),
        component(
            "lower_quantile",
            o.build_lower_quantile,
            o.QuantileOptions,
            "the mean of the lowest scores",
            monotone=True,
        ),
        component("max_median", o.build_max_median, NoOptions, "the median principle", monotone=True),
    ]


def _welfare() -> list[Component[Scalarizer]]:
    return [
        component(
            "bernoulli_nash",
            o.build_bernoulli_nash,
            o.Temperature,
            "the product of the chances to pass each threshold",
            uses=WEIGHT_AND_THRESHOLD,
            monotone=True,
        ),
        component("owa", o.build_owa, o.OwaOptions, "weights by rank, from the worst score to the best", monotone=True),
        component(
            "power_mean",
            o.build_power_mean,
            o.PowerMeanOptions,
            "a power mean of the chances to pass each threshold",
            uses=WEIGHT_AND_THRESHOLD,
            monotone=True,
        ),
        component(
            "chebyshev",
            o.build_chebyshev,
            o.ChebyshevOptions,
            "the largest weighted distance to an ideal point",
            uses=WEIGHT,
            monotone=True,
            names=lambda options: options.target if isinstance(options.target, dict) else (),
        ),
    ]


def _orders() -> list[Component[Scalarizer]]:
    return [
        component(
            "lexicographic",
            o.build_lexicographic,
            o.LexicographicOptions,
            "the first principle up to its threshold, then the next",
            uses=THRESHOLD_AND_PRIORITY,
            monotone=True,
        ),
        component(
            "lexicographic_rank",
            o.build_lexicographic_rank,
            o.RankOptions,
            "the rank in a prompt's group, one principle after the other",
            needs=frozenset({"groups"}),
            uses=frozenset({"priority"}),
            monotone=True,
            names=lambda options: options.slack if isinstance(options.slack, dict) else (),
        ),
        component(
            "leximin",
            o.build_leximin,
            NoOptions,
            "the rank in a prompt's group, the worst principle first",
            needs=frozenset({"groups"}),
            monotone=True,
        ),
    ]


def _conditions() -> list[Component[Scalarizer]]:
    return [
        component(
            "lagrangian",
            o.build_lagrangian,
            o.LagrangianOptions,
            "the first principle under constraints on the others",
            uses=THRESHOLD_AND_PRIORITY,
            monotone=True,
        ),
        component(
            "gated",
            o.build_gated,
            o.GatedOptions,
            "weights that depend on the prompt",
            needs=frozenset({"features"}),
            uses=WEIGHT,
            monotone=True,
        ),
        component(
            "normalize_then_sum",
            o.build_normalize_then_sum,
            o.NormalizeOptions,
            "the sum of scores standardised within a prompt's group",
            needs=frozenset({"groups"}),
            uses=WEIGHT,
        ),
        component(
            "single",
            o.build_single,
            o.SingleOptions,
            "one principle alone",
            supplies=LINEAR,
            monotone=True,
            names=lambda options: (options.principle,),
        ),
    ]
