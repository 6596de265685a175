"""What each principle adds to the accuracy of predicting human choices: refitted, over many orders of the principles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np

from morlaif_core import Doubles

from .choices import Choices, Places
from .logistic_weights import Advance, fit, folds, named_right


@dataclass(frozen=True, eq=False)
class Ablation:
    """Gains in cross-validated accuracy.

    Attributes:
        gains: (k,) each principle's mean gain; they sum to the accuracy of all above one half.
        reach: (k,) half of the 95 % interval of each gain: over prompts, and over orders where not all were taken.
        curve: (k + 1,) mean accuracy with the first j principles of an order; one half with none.
        orders: how many orders were taken.
    """

    gains: Doubles
    reach: Doubles
    curve: Doubles
    orders: int


class _Accuracy:
    """Out-of-fold answers under a set of principles, each set fitted once."""

    def __init__(self, choices: Choices, penalty: float, seed: int, *, signed: bool) -> None:
        self._penalty, self._signed = penalty, signed
        self._parts = [(choices.rows(train), choices.rows(test)) for train, test in folds(choices, seed)]
        self._known: dict[frozenset[int], Doubles] = {}
        # In the order of the answers: fold by fold.
        self.groups = np.concatenate([choices.groups[test][choices.decided[test]] for _, test in folds(choices, seed)])

    def __call__(self, members: frozenset[int]) -> Doubles:
        """Return for each decided choice, fold by fold, whether these principles name the winner."""
        if members not in self._known:
            self._known[members] = self._fitted(sorted(members)) if members else np.full(len(self.groups), 0.5)
        return self._known[members]

    def _fitted(self, columns: list[int]) -> Doubles:
        right = []
        for train, test in self._parts:
            beta = fit(train.columns(columns), self._penalty, signed=self._signed)
            right.append(named_right(test.columns(columns), beta))
        return np.concatenate(right)


def ablate(
    choices: Choices, penalty: float, seed: int, orders: int, *, signed: bool = False, advance: Advance | None = None
) -> Ablation:
    """Return each principle's mean gain in accuracy when it is added, over orders of the principles.

    The fit is redone for each set of principles, on the training rows of five folds, and tested on their other rows.
    All orders are taken where there are no more than ``orders``, else so many random ones. A single order would give
    all that two principles share to the first of them.

    Source: Shapley, "A value for n-person games" (1953); sampled orders of Castro, Gomez and Tejada (2009).

    Leaves out: a penalty chosen for each set of principles: all are fitted with the one given; and, in the intervals, how
    the fits would vary with other training rows.
    """
    k, right = choices.differences.shape[1], _Accuracy(choices, penalty, seed, signed=signed)
    taken = _orders(k, orders, seed)
    by_choice = np.zeros((k, len(right.groups)))
    by_order, curve = np.zeros((len(taken), k)), np.full((len(taken), k + 1), 0.5)
    for number, order in enumerate(taken):
        members: frozenset[int] = frozenset()
        for size, principle in enumerate(order, start=1):
            more = members | {principle}
            gain = right(more) - right(members)
            by_choice[principle] += gain
            by_order[number, principle] = gain.mean()
            curve[number, size] = right(more).mean()
            members = more
        if advance is not None:
            advance(number + 1, len(taken))
    noise = _deviation(by_choice / len(taken), right.groups) ** 2
    if len(taken) < factorial(k):
        # Which orders were drawn is chance too; where all were taken it is not.
        noise += by_order.var(axis=0, ddof=1) / len(taken)
    return Ablation(by_order.mean(axis=0), 1.96 * np.sqrt(noise), curve.mean(axis=0), len(taken))


def _orders(k: int, most: int, seed: int) -> list[list[int]]:
    """All orders where they are few enough, else random ones, at least two."""
    if factorial(k) <= most:
        every: Iterable[tuple[int, ...]] = permutations(range(k))
        return [list(order) for order in every]
    generator = np.random.default_rng(seed)
    # Two at least, or the variance over orders could not be had.
    return [generator.permutation(k).tolist() for _ in range(max(2, most))]


def _deviation(values: Doubles, groups: Places) -> Doubles:
    """Return the standard deviation of the mean of each row (k, m), whole prompts varying together."""
    numbers = np.unique(groups, return_inverse=True)[1]
    n = int(numbers.max()) + 1
    away = values - values.mean(axis=1, keepdims=True)
    sums = np.array([np.bincount(numbers, row, minlength=n) for row in away])
    deviations: Doubles = np.sqrt((sums**2).sum(axis=1) * n / max(n - 1, 1)) / values.shape[1]
    return deviations
