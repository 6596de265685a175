"""Rows of one prompt as a group: indices and ranks, all groups at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morlaif_core import Doubles, Floats


def group_index(prompt_ids: Sequence[str]) -> NDArray[np.int64]:
    """Number the groups in the order of their first row: (n,) int64, equal ids alike."""
    seen: dict[str, int] = {}
    return np.fromiter((seen.setdefault(name, len(seen)) for name in prompt_ids), dtype=np.int64, count=len(prompt_ids))


def rank_in_group(keys: Doubles, prompt_ids: Sequence[str]) -> Floats:
    """Rank rows within their group by keys compared in order, the first column first.

    Args:
        keys: (n, m); greater is better.
        prompt_ids: n ids, equal ones form a group.

    Returns:
        (n,) float32 in [0, 1]: 0 the worst of its group, 1 the best, ties at their mean; a group of one gets 1/2.
    """
    n = len(prompt_ids)
    if n == 0:
        return np.zeros(0, dtype=np.float32)
    groups = group_index(prompt_ids)
    order, starts_group, starts_run = _sorted(keys, groups)
    first = np.flatnonzero(starts_group)
    place = np.arange(n) - np.repeat(first, np.diff(np.append(first, n)))
    run = np.cumsum(starts_run) - 1
    mean_place = np.bincount(run, weights=place) / np.bincount(run)
    size = np.bincount(groups)[groups]
    ranks = np.empty(n)
    ranks[order] = mean_place[run]
    # Both branches are computed: the maximum keeps a group of one from dividing by 0.
    return np.where(size > 1, ranks / np.maximum(size - 1, 1), 0.5).astype(np.float32)


def _sorted(keys: Doubles, groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Sort rows by group, then by keys in order; n >= 1.

    Returns the order (n,) and, by place in it, where a group begins and where rows begin that tie (n,) bool each.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[True], np.diff(groups[order]) != 0])
    starts_group = starts.copy()
    for column in keys.T:
        run = np.cumsum(starts) - 1
        # Most rows are told apart by the first column or two: only those that still tie are sorted by the next.
        tied = np.bincount(run)[run] > 1
        if not tied.any():
            break
        rows = order[tied]
        rows = rows[np.lexsort((column[rows], run[tied]))]
        order[tied] = rows
        # Or-ed, because rows of two runs that meet here may be equal in this column.
        starts[tied] |= np.concatenate([[True], np.diff(column[rows]) != 0])
    return order, starts_group, starts


def best_in_group(values: Doubles, groups: NDArray[np.int64]) -> Doubles:
    """Return each row's group maximum of every column: (n, k) for values (n, k) and group numbers (n,)."""
    # initial=-1: no rows are no groups, and no error.
    best = np.full((int(groups.max(initial=-1)) + 1, values.shape[1]), -np.inf)
    np.maximum.at(best, groups, values)
    return best[groups]


def standardised_in_group(values: Doubles, groups: NDArray[np.int64], eps: float) -> Doubles:
    """Return (values - mean) / (deviation + eps) within each group and column; the deviation is the population's."""
    count = np.bincount(groups)[:, None]

    def means(columns: Doubles) -> Doubles:
        sums = np.stack([np.bincount(groups, weights=column) for column in columns.T], axis=1)
        mean: Doubles = (sums / count)[groups]
        return mean

    # In two passes: a mean of squares less a squared mean would lose small deviations to rounding.
    centred = values - means(values)
    scaled: Doubles = centred / (np.sqrt(means(centred**2)) + eps)
    return scaled
