"""The worst principle decides, then the next worst, within a group: `leximin`."""

from __future__ import annotations

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .groups import rank_in_group


def leximin(scores: ScoreMatrix, terms: Terms) -> Floats:
    """Return each row's rank within its prompt's group under the leximin order.

    Formula: sort each row ascending and compare rows entry by entry, the worst first. u is the rank in the group, from 0
    (worst) to 1 (best), rows that tie at their mean.

    Source: the leximin order (Sen, "Collective Choice and Social Welfare", 1970; Rawls's difference principle made
    strict).

    Range: [0, 1]; a group of one gets 1/2.

    Trap: it needs groups; rewards of two groups cannot be compared.

    Leaves out: how far apart two rows are: the reward is a rank, which says only which one is better.

    Args:
        scores: calibrated scores, values (n, k) float32, with prompt ids that form groups.
        terms: none is used.

    Returns:
        (n,) float32.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> leximin(make_scores([[0.0, 1.0], [2.0, 0.0], [-1.0, 3.0]], group=3), make_terms(k=2)).tolist()
    [0.5, 1.0, 0.0]
    """
    return rank_in_group(np.sort(scores.values.astype(np.float64), axis=1), scores.prompt_ids)
