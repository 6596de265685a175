"""From an answer to a log-odds or a status, for every mode; what was not said where it was asked for is no label."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from morlaif_core.feedback.types import MIN_LABEL_MASS, Counts, Mode, Status
from morlaif_core.types import Answer

from .json_objects import answered_object, split_thoughts, thinks
from .verdict import CLIP, Reading, clip, hard_logit

_OUTSIDE = -9000.0  # servers write -9999.0 for a token outside the top
# In place of a bound that rounding made 0: so small that against it a label of 1/4 or more is clipped.
_SMALLEST = math.exp(-CLIP) / 4
# ▁ and Ġ: how tokenizers write the space before a word.
_WRAPPING = " \t\r\n*_`'\"()[]<>.,:;▁Ġ"
_SPACES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})  # as some servers write the tokens of byte-level tokenizers
_VERDICT = re.compile(r"^[ \t*_`#>]*verdict[*_` ]*:(?P<said>.*)$", re.I | re.M)
_FINISHED: dict[str, Status] = {"refused": "refused", "filtered": "filtered", "not_applicable": "not_applicable"}
_VERDICT_KEYS = ("verdict", "rationale", "confidence")
_PICKS = {"A": Counts(first=1), "B": Counts(second=1), "TIE": Counts(tie=1)}


class LabelMass(NamedTuple):
    """Probabilities of the labels A and B; None: outside the top, there at most ``bound``."""

    first: float | None
    second: float | None
    bound: float


def label_mass(top: Mapping[str, float]) -> LabelMass:
    """Add up the probabilities of all spellings of A and of B (``A``, `` A``, ``a``, ``A.``, ``**A``).

    top: token -> natural log-probability. A label outside is no more likely than the smallest token returned, and than
    what the returned ones leave over.
    """
    seen = _probabilities(top)
    labels = _spelled(seen)
    bound = max(min(min(seen.values(), default=0.0), 1.0 - sum(seen.values())), _SMALLEST)
    return LabelMass(labels.get("A"), labels.get("B"), bound)


def read_answer(answer: Answer, mode: Mode, least: float = MIN_LABEL_MASS, *, abstain: bool = False) -> Reading:
    """Turn an answer about one principle into a log-odds of `p_first` or into a status; never into a made-up number.

    least: label mass below which an answer is off_label. abstain: "does not apply" was offered.
    """
    if (status := _FINISHED.get(answer.finish)) is not None:
        return Reading(status)
    if mode == "pair":
        return _read_probability(answer.p_first)
    if mode == "logprob":
        return _read_labels(answer.top_logprobs[0] if answer.top_logprobs else {}, least, abstain)
    if mode == "rationale":
        return _read_rationale(answer, least, abstain)
    if mode == "structured":
        return _read_word(answered_object(answer.text, _VERDICT_KEYS).get("verdict"), abstain)
    return _read_text(answer.text, abstain)


def read_joint(answer: Answer, n: int, *, abstain: bool = False) -> list[Reading]:
    """Read the answer to a joint request of n principles, in the order asked."""
    if (status := _FINISHED.get(answer.finish)) is not None:
        return [Reading(status)] * n
    places = [str(place) for place in range(1, n + 1)]
    said = answered_object(answer.text, places)
    return [_read_word(said.get(place), abstain) for place in places]


def _probabilities(top: Mapping[str, float]) -> dict[str, float]:
    # Some servers round a log-probability to a little above 0.
    return {token: math.exp(min(value, 0.0)) for token, value in top.items() if value > _OUTSIDE}


def _spelled(seen: Mapping[str, float]) -> dict[str, float]:
    """Add up the spellings of each label that is among the tokens; C: does not apply."""
    labels: dict[str, float] = {}
    for token, p in seen.items():
        label = token.strip(_WRAPPING).upper()
        if label in ("A", "B", "C"):
            labels[label] = labels.get(label, 0.0) + p
    return labels


def _read_probability(p: float | None) -> Reading:
    if p is None or not 0 <= p <= 1:
        return Reading("parse_error")
    # log of 0 fails; a provider that is certain says as much as the clip lets it.
    if p in (0, 1):
        return Reading("ok", CLIP if p == 1 else -CLIP)
    return Reading("ok", clip(math.log(p) - math.log1p(-p)))


def _read_labels(top: Mapping[str, float], least: float, abstain: bool) -> Reading:
    """Read the label from the likeliest tokens of one position. C is a label where it was offered, and then counts."""
    if not top:
        return Reading("parse_error")
    first, second, bound = label_mass(top)
    neither = _spelled(_probabilities(top)).get("C", 0.0) if abstain else 0.0
    either = (first or 0.0) + (second or 0.0)
    mass = min(1.0, either + neither)
    odds = clip(_log(first, bound) - _log(second, bound))
    # With neither label in sight there is nothing to compare, however little mass is asked for.
    if mass < least or mass == 0:
        return Reading("off_label", mass=mass, off=odds if either > 0 else None)
    if neither > either:
        return Reading("not_applicable", mass=mass)
    return Reading("ok", odds, mass, censored=first is None or second is None)


def _log(p: float | None, bound: float) -> float:
    return math.log(max(bound if p is None else p, _SMALLEST))


def rationale_place(answer: Answer) -> int | None:
    """Return the position of the letter after the last line that says "Verdict:"; None where there is no such line."""
    # Sign by sign, so that a place in the text is the same place in the tokens.
    drawn = "".join(answer.tokens).translate(_SPACES)
    lines = [found for found in _VERDICT.finditer(drawn) if found["said"].strip(_WRAPPING)]
    if not lines:
        return None
    rest = lines[-1]["said"]
    at = lines[-1].start("said") + len(rest) - len(rest.lstrip(_WRAPPING))
    # From characters to tokens: a token may hold several letters, or the letter with its space.
    return bisect_right(list(accumulate(map(len, answer.tokens))), at)


def _read_rationale(answer: Answer, least: float, abstain: bool) -> Reading:
    """Read the letter's position in the last line, which must be the verdict; an answer cut off has no last line."""
    last = _VERDICT.fullmatch(answer.text.rstrip().rpartition("\n")[2])
    place = rationale_place(answer)
    if last is None or place is None or place >= len(answer.top_logprobs) or answer.finish == "length":
        return Reading("parse_error")
    reading = _read_labels(answer.top_logprobs[place], least, abstain)
    # "Verdict: A careful look shows …" has much label mass, and is no verdict.
    clear = last["said"].strip(_WRAPPING).upper() in (("A", "B", "C") if abstain else ("A", "B"))
    return reading if clear or reading.status == "off_label" else Reading("parse_error")


def _read_text(text: str, abstain: bool) -> Reading:
    """Read the letter from the first line, where it was asked for; a letter in prose ("A careful reading…") is none."""
    letter = _first_line(text)
    # A letter first is the verdict, whatever end of thoughts is quoted behind it.
    if thinks(text) or letter not in ("A", "B", "C"):
        letter = _first_line(split_thoughts(text)[1])
    if letter == "C" and abstain:
        return Reading("not_applicable")
    return _picked(letter if letter in ("A", "B") else "")


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip(_WRAPPING).upper()


def _read_word(word: object, abstain: bool) -> Reading:
    """Read a verdict of an answer in JSON."""
    said = word.strip(_WRAPPING).upper() if isinstance(word, str) else ""
    if said == "NOT_APPLICABLE" and abstain:
        return Reading("not_applicable")
    return _picked(said)


def _picked(said: str) -> Reading:
    counts = _PICKS.get(said)
    if counts is None:
        return Reading("parse_error")
    return Reading("ok", hard_logit(counts.first, counts.second), counts=counts)
