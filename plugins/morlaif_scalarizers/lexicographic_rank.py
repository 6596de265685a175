"""One principle after the other within a group, each with some slack: `LexicographicRank`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morlaif_core import Floats, ScoreMatrix, Terms

from .groups import best_in_group, group_index, rank_in_group
from .names import find

NONE = 1e-9
"""Slacks below this are 0: they are far below what float32 tells apart, and a division by them may overflow."""


@dataclass(frozen=True)
class LexicographicRank:
    """The rank within a prompt's group under a lexicographic order with slack.

    Formula, in the order of the priorities: a row's score in principle j becomes the bin
    ``floor((best_j - r_j) / slack_j)``, best_j the group's best; fewer bins are better, and the next principle decides
    between rows of one bin; the last principle, and one of slack 0, decides by its score. u is the rank in the group,
    from 0 (worst) to 1 (best), rows that tie at their mean.

    Source: lexicographic optimisation with slack (Wray, Zilberstein and Mouaddib, "Multi-objective MDPs with
    conditional lexicographic reward preferences", 2015), here within a group of responses.

    Range: [0, 1]; a group of one gets 1/2.

    Trap: it needs groups; rewards of two groups cannot be compared.

    Leaves out: a slack between pairs ("a is no worse than b by more than s"), because it is not transitive and so sorts
    nothing: bins, measured from the best, do.

    Attributes:
        slack: in calibrated units, >= 0, for all principles or by name; a principle that is not named has none.

    >>> from morlaif_core.testing import make_scores, make_terms
    >>> scores = make_scores([[2.0, 0.0], [1.9, 1.0], [0.0, 3.0]], group=3)
    >>> LexicographicRank(slack=0.5)(scores, make_terms(priority=[1, 2])).tolist()
    [0.5, 1.0, 0.0]
    """

    slack: float | Mapping[str, float] = 0.2

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Floats:
        """Return (n,) float32 for calibrated scores (n, k) float32 and their groups; priority (k,) is used."""
        order = np.argsort(terms.priority, kind="stable")
        keys = scores.values.astype(np.float64)[:, order]
        slack = np.array([self._slack_of(scores.principles[place]) for place in order])
        # There is no later principle for which the last one could give something up.
        slack[-1:] = 0.0
        binned = slack > NONE
        below = best_in_group(keys, group_index(scores.prompt_ids)) - keys
        keys[:, binned] = -np.floor(below[:, binned] / slack[binned])
        return rank_in_group(keys, scores.prompt_ids)

    def _slack_of(self, column: str) -> float:
        """The slack of a column; principles that share a priority form one, named ``a+b``: their mean."""
        if not isinstance(self.slack, Mapping):
            return self.slack
        members = column.split("+")
        keys = [find(name, self.slack) for name in members]
        return sum(self.slack[key] for key in keys if key is not None) / len(members)
