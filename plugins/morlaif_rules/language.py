"""Whether texts look English, for a note: the measures know English words, and see nothing in other languages.

Leaves out: which language it is, and texts that mix languages: letters and function words do not tell.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from .lexicons import STOP_WORDS
from .texts import words

LEAST_LETTERS = 30
"""A shorter text tells nothing."""
LEAST_TEXTS = 20
"""Texts, of which more than half must look foreign before anything is said."""
FUNCTION_WORDS = 0.2
"""Least share of function words in an English text; about half of the words of prose are some."""
LAST_LATIN = "\u024f"


def looks_foreign(text: str) -> bool | None:
    """Say whether a text is hardly English, by its script and its function words; None where it is too short to tell."""
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) < LEAST_LETTERS:
        return None
    if sum(letter > LAST_LATIN for letter in letters) > len(letters) / 2:
        return True
    found = words(text)
    return sum(word in STOP_WORDS for word in found) < FUNCTION_WORDS * len(found)


class LanguageWatch:
    """Warns once that most of the texts it is shown are not English."""

    def __init__(self) -> None:
        self._foreign: dict[str, bool] = {}
        self._done = False

    def see(self, texts: Iterable[str]) -> None:
        """Look at texts, the first hundred or so; equal ones count once."""
        for text in texts:
            if self._done or len(self._foreign) >= 5 * LEAST_TEXTS:
                self._done = True
                return
            found = None if text in self._foreign else looks_foreign(text)
            if found is not None:
                self._foreign[text] = found
                self._tell()

    def _tell(self) -> None:
        foreign, n = sum(self._foreign.values()), len(self._foreign)
        if n >= LEAST_TEXTS and foreign > n / 2:
            self._done = True
            warnings.warn(
                f"{foreign} of the first {n} prompts do not look English; the judge rules measures English words alone, so "
                "that its verdicts on other languages mean little: use a judge that reads them",
                stacklevel=2,
            )
