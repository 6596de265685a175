"""How far several judges agree, and how many independent ones they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morlaif_core.types import Doubles

from .intervals import Figure, Places, bootstrap, by_prompt

Labels = NDArray[np.intp]
"""(n, k): what each of k judges says of each of n pairs, from 0; -1 where a judge has no label."""
EQUAL = "undefined: there are no two labels to one pair, or all labels are equal"


def cohen_kappa(one: Labels, other: Labels, prompts: Places) -> Figure | None:
    """Return Cohen's kappa of two judges' labels, BCa interval over prompts; None where all labels are equal.

    Pairs that either leaves without a label do not count.

    one, other: (n,) labels from 0; -1: none. prompts: (n,) which prompt a row is of.

    >>> cohen_kappa(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), np.arange(4)).mean
    0.5
    """
    from sklearn.metrics import cohen_kappa_score

    both = (one >= 0) & (other >= 0)
    one, other, prompts = one[both], other[both], prompts[both]
    if len(set(one.tolist()) | set(other.tolist())) < 2:
        return None
    size = int(max(one.max(), other.max())) + 1
    cells = np.zeros((len(one), size, size))
    cells[np.arange(len(one)), one, other] = 1
    # scikit-learn's kappa takes one table; `_kappas` takes those of all resamples at once.
    ends = bootstrap(by_prompt(cells.reshape(len(one), -1), prompts), lambda sums: _kappas(sums, size))
    return Figure(float(cohen_kappa_score(one, other)), *(ends or (None, None)))


def _kappas(sums: Doubles, size: int) -> Doubles:
    tables = sums.reshape(-1, size, size) / sums.sum(axis=1)[:, None, None]
    chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    kappas: Doubles = (np.trace(tables, axis1=1, axis2=2) - chance) / (1 - chance)
    return kappas


def krippendorff_alpha(labels: Labels, prompts: Places) -> Figure | None:
    """Return Krippendorff's alpha for nominal labels with missing ones, None where all labels are equal.

    1 - (n - 1) (n - sum_c o_cc) / (n^2 - sum_c n_c^2) over pairs with two labels at least; n_c: labels of kind c,
    o_cc: coincidences, a pair of m labels giving n_uc (n_uc - 1) / (m - 1) (Krippendorff 2011, nominal data). Our own, as
    the package krippendorff is under the GPL. Leaves out: ordinal data (a tie is as far from a as b is), and rater models
    (Dawid and Skene), whose guess at each judge's errors no truth would check.
    """
    size = int(labels.max(initial=0)) + 1
    # A label of -1 is counted under no kind: that is all that missing ones need.
    counts = np.stack([(labels == kind).sum(axis=1) for kind in range(size)], axis=1).astype(float)
    paired = counts.sum(axis=1) > 1
    counts, prompts = counts[paired], prompts[paired]
    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    same = (counts * (counts - 1)).sum(axis=1) / (counts.sum(axis=1) - 1)
    sums = by_prompt(np.column_stack([counts, same]), prompts)
    alpha = float(_alphas(sums.sum(axis=0, keepdims=True))[0])
    return Figure(alpha, *(bootstrap(sums, _alphas) or (None, None)))


def _alphas(sums: Doubles) -> Doubles:
    kinds, same = sums[:, :-1], sums[:, -1]
    n = kinds.sum(axis=1)
    alphas: Doubles = 1 - (n - 1) * (n - same) / (n**2 - (kinds**2).sum(axis=1))
    return alphas


def effective_judges(p: Doubles, prompts: Places) -> Figure | None:
    """Return how many independent judges a panel's k are worth: k / (1 + (k - 1) rho), in [1, k].

    p: (n, k) P(a is better), NaN without a label. rho: mean correlation of two members' p over the pairs that both
    label, at least 0. That is Kish's effective sample size (Kish, Survey Sampling, 1965); panels of language models reach
    about 2 of 9 by their errors (arXiv 2605.29800). Correlation of verdicts counts what is true for dependence too: two
    perfect judges are worth one. None where a member's verdicts do not vary.
    """
    k = p.shape[1]
    pairs = list(combinations(range(k), 2))
    known = [~np.isnan(p[:, [i, j]]).any(axis=1) for i, j in pairs]
    # An unknown p becomes 0, which adds nothing to a sum; about 0.5, so that the sums of squares stay small.
    filled = np.where(np.isnan(p), 0.5, p) - 0.5
    moments = [
        np.column_stack([both, *(both * m for m in _moments(filled[:, i], filled[:, j]))])
        for (i, j), both in zip(pairs, known, strict=True)
    ]
    sums = by_prompt(np.column_stack(moments), prompts)
    with np.errstate(invalid="ignore", divide="ignore"):
        worth = float(_worths(sums.sum(axis=0, keepdims=True), k)[0])
        ends = bootstrap(sums, lambda totals: _worths(totals, k)) if math.isfinite(worth) else None
    return Figure(worth, *(ends or (None, None))) if math.isfinite(worth) else None


def _moments(x: Doubles, y: Doubles) -> tuple[Doubles, ...]:
    return x, y, x * x, y * y, x * y


def _worths(sums: Doubles, k: int) -> Doubles:
    n, x, y, xx, yy, xy = np.moveaxis(sums.reshape(len(sums), -1, 6), 2, 0)
    # Below 1e-9 only rounding varies, and a correlation would be made of it.
    varies = (n * xx - x * x > 1e-9) & (n * yy - y * y > 1e-9)
    rho = np.where(varies, (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y)), np.nan).mean(axis=1)
    worths: Doubles = k / (1 + (k - 1) * np.clip(rho, 0, 1))
    return worths


def panel_block(names: Sequence[str], labels: Labels, p: Doubles, prompts: Places) -> dict[str, Any]:
    """Return what results.json says of k members' agreement; what cannot be had is null, its reason in `notes`.

    labels: (n, k), 0 b better, 1 tie, 2 a better, -1 none; p: (n, k), NaN without a label.
    """
    notes: dict[str, str] = {}
    kappa: dict[str, Any] = {}
    for i, j in combinations(range(len(names)), 2):
        pair = f"{names[i]}, {names[j]}"
        kappa[pair] = _shown(cohen_kappa(labels[:, i], labels[:, j], prompts), notes, f"kappa of {pair}", EQUAL)
    alpha = _shown(krippendorff_alpha(labels, prompts), notes, "alpha", EQUAL)
    worth = _shown(effective_judges(p, prompts), notes, "effective_judges", "a member's verdicts do not vary")
    return {"kappa": kappa, "alpha": alpha, "effective_judges": worth, "notes": notes}


def _shown(figure: Figure | None, notes: dict[str, str], name: str, why: str) -> dict[str, Any] | None:
    if figure is None:
        notes[name] = why
        return None
    if figure.ci95 is None:
        notes[name] = "no interval: the prompts do not differ, or are too few"
    return {"mean": figure.mean, "ci95": figure.ci95}
