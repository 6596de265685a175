"""What the `rules` judge measures: pure functions of prompt and response. `catalogue` has their ranges and scales.

Leaves out: Flesch's formula, because it goes with length (.68 on real responses); counts of declining and cautioning
words, because a single hit outweighed everything else, so `scruple` is a yes or no; negation, irony and quotation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from morlaif_core import Prompt

from . import lexicons, texts

VERSION = 2
"""Part of the judge's identity: raise it whenever a measure's values change (a test holds some of them fast)."""

FLOOR_WORDS = 8
"""Below this many words a response is not more concise, only emptier."""
FLOOR_STEMS = 12
"""A response of fewer content words is not more to the point: else a curt refusal that names the topic would win."""
MOST_STEMS = 24
"""Distinct content words beyond these add no substance: else the longest response would always win."""
ENTIRELY_EMPTY = -12.0
"""Brevity of a response without a word, as of one with 4,096: who says nothing is not concise."""


@dataclass(frozen=True)
class Measure:
    """One measure. ``unit`` is the difference that makes the odds e to 1; differences up to ``tie`` count as none."""

    name: str
    what: str
    unseen: str
    low: float
    high: float
    unit: float
    tie: float
    rate: Callable[[Prompt, str], float] | None
    """None: the judge rates by the embedding model."""


@lru_cache(maxsize=1)
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


@lru_cache(maxsize=8192)
def tone(text: str) -> float:
    """Return VADER's compound sentiment (Hutto and Gilbert, ICWSM 2014), mean over sentences, in [-1, 1]; 0 if empty.

    The mean, because the compound of a whole text runs to -1 or 1 with its length.
    """
    pieces = texts.sentences(text)
    return sum(float(_vader().polarity_scores(piece)["compound"]) for piece in pieces) / max(len(pieces), 1)


def hits(pattern: re.Pattern[str], text: str, most: int) -> int:
    """Count the distinct matches of a lexicon in a text, at most ``most``."""
    # Distinct ones: to say the same phrase again is not twice as polite or rude.
    return min(len(set(pattern.findall(texts.plain(text)))), most)


def brevity(_: Prompt, response: str) -> float:
    """Minus log2 of the number of words, in [-12, -3]."""
    count = len(texts.words(response))
    return -math.log2(min(max(count, FLOOR_WORDS), 4096)) if count else ENTIRELY_EMPTY


def richness(prompt: Prompt, response: str) -> float:
    """log2(1 + distinct content words), in [0, 10]."""
    return math.log2(1 + min(len(texts.content_stems(response, texts.topic_stems(prompt))), 1023))


def overlap(prompt: Prompt, response: str) -> float:
    """Cosine of the content words of question and response, in [0, 1]."""
    asked = texts.topic_stems(prompt)
    said = texts.content_stems(response, asked)
    return len(asked & said) / math.sqrt(len(asked) * max(len(said), FLOOR_STEMS)) if asked else 0.0


def declines(text: str) -> bool:
    """Say whether a text contains a phrase by which an assistant declines."""
    return lexicons.DECLINES.search(texts.plain(text)) is not None


def unanswered(text: str) -> bool:
    """Say whether a text declines or says that it does not know."""
    return declines(text) or lexicons.UNANSWERED.search(texts.plain(text)) is not None


def cautions(text: str) -> bool:
    """Say whether a text warns, or calls something wrong, illegal or dangerous."""
    return lexicons.CAUTIONS.search(texts.plain(text)) is not None


def substance(prompt: Prompt, response: str) -> float:
    """log2(1 + content words that the question lacks), cut where off topic or without an answer, in [0, 4.7]."""
    asked = texts.topic_stems(prompt)
    said = texts.content_stems(response, asked)
    told = math.log2(1 + min(len(said - asked), MOST_STEMS))
    return told * (1.0 if asked & said or not asked else 0.5) * (0.25 if unanswered(response) else 1.0)


def courtesy(_: Prompt, response: str) -> float:
    """Courteous phrases less rude ones, plus half of `tone`, in [-2.5, 2.5]."""
    # Capped together, or rudeness could outweigh the most courtesy that counts.
    rude = hits(lexicons.RUDE, response, 2) + hits(lexicons.INSULTS, response, 2)
    return hits(lexicons.COURTEOUS, response, 2) - min(rude, 2) + 0.5 * tone(response)


def warmth(_: Prompt, response: str) -> float:
    """Phrases that acknowledge feelings less dismissive ones, plus half of `tone`, in [-2.5, 2.5]."""
    cold = hits(lexicons.DISMISSES, response, 2) + hits(lexicons.INSULTS, response, 1)
    return hits(lexicons.ACKNOWLEDGES, response, 2) - min(cold, 2) + 0.5 * tone(response)


def insults(_: Prompt, response: str) -> float:
    """Distinct insults, threats and swear words, in [0, 3]."""
    return float(hits(lexicons.INSULTS, response, 3))


def scruple(_: Prompt, response: str) -> float:
    """1 where it declines or cautions, less 1 where it insults, in [-1, 1]."""
    return float(declines(response) or cautions(response)) - float(hits(lexicons.INSULTS, response, 1))


def flattery(_: Prompt, response: str) -> float:
    """Distinct phrases of praise or agreement without reserve, in [0, 2]."""
    return float(hits(lexicons.FLATTERS, response, 2))


def plainness(_: Prompt, response: str) -> float:
    """Minus length of sentences and share of long words, in [-6, -1]."""
    found, pieces = texts.words(response), texts.sentences(response)
    if not found:
        return -6.0
    long_words = sum(len(word) >= 8 for word in found)
    # 10 made-up words with the usual share of long ones, or one long word in a short response would decide.
    share = (long_words + 1.5) / (len(found) + 10)
    per_sentence = max(len(found) / len(pieces), 10.0)
    return -min(per_sentence / 10 + 5 * share, 6.0)
