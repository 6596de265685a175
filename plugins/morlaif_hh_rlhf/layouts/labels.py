"""What people chose, as P(the first response is better) in [0, 1]; None: this pair has no such label.

Each reader takes a value and its place for the error message, and raises UserError for a value that it does not know.
"""

from __future__ import annotations

import math

from morlaif_core import UserError

_WINNERS = {"model_a": 1.0, "model_b": 0.0, "a": 1.0, "b": 0.0}
_STRONGEST = 3


def better_id(value: object, place: str) -> float | None:
    """Read the number of the better response: 0 or 1."""
    number = _number(value, place, "0 or 1, the number of the better response", 0, 1)
    if number is not None and number not in (0, 1):
        raise _unknown(value, place, "0 or 1, the number of the better response")
    return None if number is None else 1 - number


def strength(value: object, place: str) -> float | None:
    """Read HelpSteer3's scale, -3 (the first is much better) to 3 (the second is): 1, 5/6, 2/3, 1/2, 1/3, 1/6, 0."""
    number = _number(value, place, "-3 to 3, below 0 where the first response is better", -_STRONGEST, _STRONGEST)
    return None if number is None else (1 - number / _STRONGEST) / 2


def share(value: object, place: str) -> float | None:
    """Read P(chosen is better)."""
    return _number(value, place, "0 to 1, the probability that the chosen response is better", 0, 1)


def winner(value: object, place: str) -> float | None:
    """Read Chatbot-Arena's words: model_a, model_b; every kind of tie is 0.5."""
    if missing(value):
        return None
    if isinstance(value, str) and value in _WINNERS:
        return _WINNERS[value]
    # "tie", "tie (bothbad)", "both_bad": what people called level.
    if isinstance(value, str) and (value.startswith("tie") or value.replace("_", "") == "bothbad"):
        return 0.5
    raise _unknown(value, place, "model_a, model_b or tie")


def rating(value: object, place: str) -> float | None:
    """Read a response's own rating, which has no scale of its own here; N/A: not rated."""
    return _number(value, place, "a number", -math.inf, math.inf)


def is_good(value: object, place: str) -> bool | None:
    """Read KTO's label: true or false, also as 1 and 0, or as the words."""
    if missing(value):
        return None
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(
        str(value).strip().lower()
    )
    if known is None:
        raise _unknown(value, place, "true or false")
    return known


def missing(value: object) -> bool:
    """Say whether a label is not there."""
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "n/a", "null", "none", "nan"))


def _number(value: object, place: str, expected: str, low: float, high: float) -> float | None:
    if missing(value):
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    # NaN, as a table stores a cell that is empty, is no label; NaN of a value that is not a number is an error.
    if math.isnan(number) and isinstance(value, float):
        return None
    if not low <= number <= high or math.isinf(number):
        raise _unknown(value, place, expected)
    return number


def _unknown(value: object, place: str, expected: str) -> UserError:
    return UserError(f"{place} is {str(value)[:60]!r}; expected is {expected}")
