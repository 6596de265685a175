"""Scalarizers as one writes them without numpy: a loop over rows, or over the rows of each group."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from morlaif_core import Terms

Rows = list[list[float]]
GROUP = 4


def sigma(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


def weighted(row: list[float], w: list[float]) -> float:
    """The weighted sum."""
    return sum(a * r for a, r in zip(w, row, strict=True))


def uncertainty(row: list[float], w: list[float]) -> float:
    """Mean less half a deviation."""
    mean = weighted(row, w)
    return mean - 0.5 * math.sqrt(sum(a * (r - mean) ** 2 for a, r in zip(w, row, strict=True)))


def lexicographic(row: list[float], tau: list[float], low: list[float]) -> float:
    """Thresholded lexicographic order, priorities in order."""
    u, reached = 0.0, 1.0
    for place, (r, t, lower) in enumerate(zip(row, tau, low, strict=True)):
        u += reached * ((r if place == len(row) - 1 else min(r, t)) - lower)
        # 0.2 is twice the default temperature: sigma(x) is written by tanh(x / 2).
        reached *= 0.5 * (1 + math.tanh((r - t) / 0.2))
    return u


def gini(row: list[float]) -> float:
    """Gini's ordered weighted average."""
    k = len(row)
    return sum((2 * (k - i) - 1) * r for i, r in enumerate(sorted(row))) / k**2


def by_row(formula: Callable[[list[float]], float]) -> Callable[[Rows], list[float]]:
    """A formula of one row for all of them."""
    return lambda rows: [formula(row) for row in rows]


def by_group(keys: Callable[[Rows], Rows]) -> Callable[[Rows], list[float]]:
    """Ranks within groups by keys, ties at their mean."""

    def ranks(rows: Rows) -> list[float]:
        found = []
        for start in range(0, len(rows), GROUP):
            group = keys(rows[start : start + GROUP])
            found += [(sum(b < a for b in group) + 0.5 * (sum(b == a for b in group) - 1)) / (GROUP - 1) for a in group]
        return found

    return ranks


def binned(group: Rows) -> Rows:
    """Bins of 0.2 below the best, the last principle as it is."""
    best = [max(column) for column in zip(*group, strict=True)]
    return [[-math.floor((b - r) / 0.2) for b, r in zip(best[:-1], row[:-1], strict=True)] + [row[-1]] for row in group]


def normalized(rows: Rows, w: list[float]) -> list[float]:
    """Standardise in groups, add up, whiten."""
    v = []
    for start in range(0, len(rows), GROUP):
        group = rows[start : start + GROUP]
        units = [(statistics.fmean(column), statistics.pstdev(column) + 1e-4) for column in zip(*group, strict=True)]
        v += [sum(a * (r - m) / s for a, r, (m, s) in zip(w, row, units, strict=True)) for row in group]
    mean, deviation = statistics.fmean(v), statistics.pstdev(v) + 1e-4
    return [(x - mean) / deviation for x in v]


def loops(terms: Terms) -> dict[str, Callable[[Rows], list[float]]]:
    """The loop of each scalarizer with its default options; thresholds 0, priorities in order, clip range 3."""
    w, tau, low = terms.weight.tolist(), terms.threshold.tolist(), terms.lower.tolist()
    return {
        "weighted": by_row(lambda row: weighted(row, w)),
        "max_min": by_row(lambda row: min(r - t for r, t in zip(row, tau, strict=True))),
        "soft_max_min": by_row(lambda row: -math.log(sum(a * math.exp(-r) for a, r in zip(w, row, strict=True)))),
        "uncertainty_weighted": by_row(lambda row: uncertainty(row, w)),
        "lower_quantile": by_row(lambda row: statistics.fmean(sorted(row)[: math.ceil(len(row) / 3)])),
        "max_median": by_row(statistics.median),
        "bernoulli_nash": by_row(lambda row: sum(a * math.log(sigma(r)) for a, r in zip(w, row, strict=True))),
        "owa": by_row(gini),
        "power_mean": by_row(lambda row: 1 / sum(a / sigma(r) for a, r in zip(w, row, strict=True))),
        "chebyshev": by_row(
            lambda row: (
                -max(a * (3 - r) for a, r in zip(w, row, strict=True))
                - 0.05 * sum(a * (3 - r) for a, r in zip(w, row, strict=True))
            )
        ),
        "lexicographic": by_row(lambda row: lexicographic(row, tau, low)),
        "lexicographic_rank": by_group(binned),
        "leximin": by_group(lambda group: [sorted(row) for row in group]),
        "lagrangian": by_row(lambda row: sum(row) / len(row)),
        "gated": by_row(lambda row: weighted(row, w)),
        "normalize_then_sum": lambda rows: normalized(rows, w),
        "single": by_row(lambda row: row[0]),
    }
