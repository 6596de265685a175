"""Text to words, sentences and stems: plain, English, deterministic.

Leaves out: lemmas and synonyms, because they need a dictionary: two forms of a word need only share a stem.
"""

from __future__ import annotations

import re
from functools import lru_cache

from morlaif_core import Prompt

from .lexicons import COURTEOUS, INSULTS, RUDE, STOP_WORDS

_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n+")
# Longest first. A light stemmer need only send the forms of a word to one stem, whatever it looks like.
_SUFFIXES = (
    "'s",
    "ations",
    "ation",
    "ingly",
    "ings",
    "ing",
    "edly",
    "ies",
    "ied",
    "ely",
    "ed",
    "es",
    "ly",
    "s",
    "e",
    "y",
)
_MIN_STEM = 3


def plain(text: str) -> str:
    """Return text in lower case with straight apostrophes and single spaces, as the lexicons expect it."""
    return " ".join(text.replace("’", "'").replace("‘", "'").lower().split())


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; digits count as words, punctuation does not."""
    # Typographic apostrophes are straightened, or don’t would be no stop word.
    return _WORD.findall(text.replace("’", "'").lower())


def sentences(text: str) -> list[str]:
    """Cut a text at full stops, question and exclamation marks and line ends; pieces without a word are dropped."""
    return [piece for piece in _SENTENCE_END.split(text) if _WORD.search(piece)]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Cut one common ending, and a consonant doubled before it: running, runs, run -> run. Not a dictionary."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            word = word[: -len(suffix)]
            break
    doubled = len(word) > _MIN_STEM and word[-1] == word[-2] and word[-1] not in "aeiou"
    return word[:-1] if doubled else word


def _stems(bare: str) -> frozenset[str]:
    """Return the stems of the distinct content words of a plain text: no stop words, no single letters."""
    return frozenset(stem(word) for word in words(bare) if word not in STOP_WORDS and (len(word) > 1 or word.isdigit()))


@lru_cache(maxsize=8192)
def _polite(text: str) -> str:
    """Return plain text without phrases of good and bad manners."""
    return RUDE.sub(" ", COURTEOUS.sub(" ", plain(text)))


@lru_cache(maxsize=8192)
def content_stems(text: str, topic: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the stems of a text's distinct content words, good and bad manners and insults left out.

    Neither thanks nor insults make a response more to the point or more detailed. Insults whose stems are all in
    ``topic`` stay: whoever asks about clowns or ugly fish is to be told about them.
    """

    def kept(found: re.Match[str]) -> str:
        stems = _stems(found.group())
        return found.group() if stems and stems <= topic else " "

    return _stems(INSULTS.sub(kept, _polite(text)))


def topic_stems(prompt: Prompt, enough: int = 3) -> frozenset[str]:
    """Return the content stems of the user's last turn, and of those before while there are fewer than ``enough``.

    Manners are left out, insults not: in a question they may be its topic, and nothing here tells.
    """
    found: frozenset[str] = frozenset()
    for turn in reversed(prompt.messages):
        if turn.role == "user":
            found |= _stems(_polite(turn.content))
            if len(found) >= enough:
                break
    return found
