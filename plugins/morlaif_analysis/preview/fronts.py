"""The Pareto front of mean scores, its hypervolume, and what each point adds to it (by `moocore`).

Leaves out: approximate volumes, because the exact one of thirty points in twelve dimensions takes 0.1 s; and intervals of
the front, whose points are taken as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from morlaif_core import Doubles

DECIMALS = 12
"""Coordinates that agree so far are equal: the last bits of a mean depend on the order of summation."""
AT_ONCE = 12
"""As many points moocore measures by inclusion and exclusion, fast in any dimension."""


def on_front(points: Doubles) -> NDArray[np.bool_]:
    """Say of each point whether no other one is at least as good everywhere and better somewhere.

    Args:
        points: (c, k), higher is better.

    Returns:
        (c,) bool; points that are equal are on the front together.

    >>> on_front(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5], [1.0, 0.0]])).tolist()
    [True, True, False, True]
    """
    import moocore

    found: NDArray[np.bool_] = moocore.is_nondominated(np.round(points, DECIMALS), maximise=True, keep_weakly=True)
    return found


def hypervolume(points: Doubles, reference: Doubles) -> tuple[float, Doubles]:
    """Return the hypervolume of the front over a reference point, and what each point alone adds to it.

    A point adds the volume that vanishes when it alone is taken from the front. So a point off the front adds 0, and so
    do points that are equal, since the other one stays. A point that is not better than the reference in every principle
    spans no volume: it adds 0 and is left out.

    Source: Zitzler and Thiele 1998; volumes by `moocore`. Many points in many dimensions are first cut into exclusive
    volumes (While, Bradstreet and Barone, "A fast way of calculating exact hypervolumes", IEEE TEC 16, 2012): thirty
    random points in twelve dimensions take 0.1 s so, and 8 s by moocore alone. Parts are differences of volumes:
    moocore 0.3.2's ``hv_contributions`` takes parts below 1.5e-8 for 0 in four dimensions and more, and a product of
    twelve gains of 0.3 is of that size.

    Args:
        points: (c, k), higher is better.
        reference: (k,).

    Returns:
        the volume, in the product of the principles' units, and (c,) of volumes >= 0.

    >>> volume, added = hypervolume(np.array([[2.0, 1.0], [1.0, 2.0], [3.0, -1.0]]), np.zeros(2))
    >>> volume, added.tolist()
    (3.0, [1.0, 1.0, 0.0])
    """
    gains = np.round(points, DECIMALS) - np.round(reference, DECIMALS)
    used = np.flatnonzero(on_front(points) & (gains > 0).all(axis=1))
    added = np.zeros(len(points))
    if not len(used):
        return 0.0, added
    distinct, which, count = np.unique(gains[used], axis=0, return_inverse=True, return_counts=True)
    alone = np.array([_exclusive(point, np.delete(distinct, i, axis=0)) for i, point in enumerate(distinct)])
    # maximum: a difference of volumes may fall below 0 by rounding.
    added[used] = np.where(count > 1, 0.0, np.maximum(alone, 0.0))[which]
    return _volume(distinct), added


def _volume(points: Doubles) -> float:
    """Volume between the origin and points (c, k) > 0 that do not dominate each other."""
    import moocore

    if len(points) <= AT_ONCE:
        return float(moocore.hypervolume(points, ref=0.0, maximise=True))
    # The lowest sum first: cut to the box of a low point, most of the others dominate each other and fall away.
    points = points[np.argsort(points.sum(axis=1), kind="stable")]
    return sum(_exclusive(point, points[i + 1 :]) for i, point in enumerate(points))


def _exclusive(point: Doubles, others: Doubles) -> float:
    """Volume that a point covers and the others do not."""
    import moocore

    box = float(np.prod(point))
    if not len(others):
        return box
    return box - _volume(moocore.filter_dominated(np.minimum(others, point), maximise=True))
