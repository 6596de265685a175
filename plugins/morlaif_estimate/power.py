"""The smallest difference that so many pairs can show.

Leaves out: an exact binomial test, for which the normal approximation stands; and rows that hang together.
"""

from __future__ import annotations

import math

_Z_TEST, _Z_POWER = 1.959963984540054, 0.8416212335729143  # 0.975 and 0.8 quantiles of the standard normal


def smallest_share(n: int) -> float | None:
    """Return the share above 1/2 that n independent yes-or-no rows tell from 1/2; None where n is too small for any.

    Two-sided test at 5 %, power 80 %: the p = 1/2 + d that solves sqrt(n) d = 1.960 / 2 + 0.842 sqrt(1/4 - d^2)
    (normal approximation; Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 2003, chapter 2).
    Ties, which count half, only make the rows vary less.
    """
    room = n + _Z_POWER**2 - _Z_TEST**2
    if room < 0:
        return None
    d = (_Z_TEST * math.sqrt(n) + _Z_POWER * math.sqrt(room)) / (2 * (n + _Z_POWER**2))
    # A share of 1 or more is none: so few rows show nothing.
    return 0.5 + d if d < 0.5 else None
