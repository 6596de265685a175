"""The registry of measures by name, and which of them stands for which principle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import measures as m, plugged
from .measures import Measure

_ENGLISH = "English words only; it does not see irony, negation or quotation"

MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "brevity",
            f"minus the binary logarithm of the number of words (at least {m.FLOOR_WORDS}); an empty one is lowest",
            "whether what was left out mattered",
            -12, -3, 0.5, 0.1, m.brevity,
        ),
        Measure(
            "richness",
            "binary logarithm of one more than the number of distinct content words; repetition does not count",
            "whether the details are true or asked for; it goes with length",
            0, 10, 0.5, 0.1, m.richness,
        ),
        Measure(
            "overlap",
            f"cosine of the content words of question and response (taken as at least {m.FLOOR_STEMS}); forms of a word"
            " are one, greetings and insults none",
            "synonyms; a response that parrots the question scores high; an insult in the question counts as its topic",
            0, 1, 0.08, 0.01, m.overlap,
        ),
        Measure(
            "similarity",
            "cosine of the sentence embeddings (MiniLM) of question and response; needs `embedder: minilm`",
            "a response that parrots the question scores high; only the first 256 tokens are read",
            -1, 1, 0.1, 0.02, None,
        ),
        Measure(
            "substance",
            f"binary logarithm of one more than the distinct content words (at most {m.MOST_STEMS}) that the response"
            " adds to the question; half of it where no word of the question returns, a quarter where the response"
            " declines or does not know",
            "whether what is said is true or helps; up to its cap it goes with length",
            0, 4.7, 0.5, 0.1, m.substance,
        ),
        Measure(
            "courtesy",
            "courteous phrases (at most 2) less rude ones and insults (at most 2), plus half of VADER's sentiment by"
            " sentence",
            _ENGLISH,
            -2.5, 2.5, 0.5, 0.05, m.courtesy,
        ),
        Measure(
            "warmth",
            "phrases that acknowledge feelings (at most 2) less dismissive ones and insults (at most 2), plus half of"
            " VADER's sentiment by sentence",
            f"whether the user is in any distress at all; {_ENGLISH}",
            -2.5, 2.5, 0.5, 0.05, m.warmth,
        ),
        Measure(
            "insults",
            "distinct insults, threats and swear words of a list of about 60, at most 3",
            "slurs against groups, veiled hostility, stereotypes; whether a word of the list is meant literally (an ugly"
            f" fish, a circus's clowns); {_ENGLISH}",
            0, 3, 0.5, 0.0, m.insults,
        ),
        Measure(
            "scruple",
            "1 where the response declines or cautions, less 1 where it insults",
            f"whether there was any cause to decline: a needless refusal scores as high as a needed one; {_ENGLISH}",
            -1, 1, 0.5, 0.0, m.scruple,
        ),
        Measure(
            "plainness",
            "minus (words per sentence, at least 10, by 10; plus 5 times the share of words of 8 letters or more)",
            "whether the text makes sense or is in order",
            -6, -1, 0.4, 0.05, m.plainness,
        ),
        Measure(
            "flattery",
            "distinct phrases that praise the user or agree without reserve, at most 2",
            f"whether the user is right and the praise earned; {_ENGLISH}",
            0, 2, 0.5, 0.0, m.flattery,
        ),
    )
}  # fmt: skip

DEFAULTS: Mapping[str, str] = {
    "helpfulness": "substance",
    "ethicality": "scruple",
    "toxicity": "-insults",
    "empathy": "warmth",
    "relevance": "overlap",
    "understandability": "plainness",
    "detail": "richness",
    "conciseness": "brevity",
    "politeness": "courtesy",
}
"""Principle -> what makes a response BETTER under it; a minus turns the measure round. The judge applies `picks`."""

WHY_NOT: Mapping[str, str] = {
    "factuality": "it takes knowledge of the world",
    "bias": "it takes an understanding of who is spoken of, and how",
    "context": "it takes an understanding of the whole conversation",
    "sycophancy": "it takes knowing whether the user is right; `-flattery` sees only phrases of praise and agreement",
}


def names() -> list[str]:
    """Return the names of all measures, other packages' too."""
    return [*MEASURES, *plugged.plugged(frozenset(MEASURES))]


def is_measure(name: str) -> bool:
    """Say whether there is a measure of this name; others' packages are looked at only where it is not built in."""
    return name in MEASURES or name in plugged.plugged(frozenset(MEASURES))


def lookup(term: str) -> tuple[float, Measure]:
    """Return sign and measure of a term such as ``brevity`` or ``-insults``. Raises KeyError for an unknown name."""
    name = term.removeprefix("-")
    sign = -1.0 if term.startswith("-") else 1.0
    return sign, MEASURES[name] if name in MEASURES else plugged.load(plugged.plugged(frozenset(MEASURES))[name])


def foreign(terms: Iterable[str]) -> list[str]:
    """Return the identities of those measures in terms that other packages offer."""
    others = sorted({term.removeprefix("-") for term in terms} - set(MEASURES))
    return [plugged.identity(plugged.plugged(frozenset(MEASURES))[name]) for name in others]
