"""What the simulated judge prefers: a function of the two answers and the question, known to the test."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from morlaif_core.feedback.answers.verdict import clip, sigmoid

Oracle = Callable[[str, str, str], float]
"""(first answer, second answer, question) -> P(first is what the question asks for), in (0, 1)."""
Abstains = Callable[[str, str, str, str], bool]
"""(prompt: the conversation's last turn, first answer, second answer, question) -> whether the question does not apply.
Heeded where the judge's prompt offers that answer."""


def uniform(*parts: object) -> float:
    """Draw from [0, 1) by a hash of the parts: the same for the same parts, in every process."""
    digest = hashlib.sha256(repr(parts).encode(errors="surrogatepass")).digest()
    # The middle of a cell of 2^-53: never 0, so that its quantile is finite.
    return ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52


def log_odds(p: float) -> float:
    """Return log(p / (1 - p)), bounded to [-20, 20]."""
    if not 0 <= p <= 1:
        raise ValueError(f"an oracle returns a probability, not {p!r}")
    return clip(math.log(p) - math.log1p(-p)) if 0 < p < 1 else clip(math.inf if p == 1 else -math.inf)


@dataclass(frozen=True)
class KnownPreference:
    """An oracle for any texts: each text has a score under each question, drawn from a hash with a seed.

    The log-odds that the first is what was asked for are q = spread (s_first - s_second) / sqrt(2), with s standard
    normal: q is antisymmetric in the two texts, N(0, spread^2) over pairs, and independent between questions.

    Attributes:
        seed: of the scores.
        spread: standard deviation of q over pairs.

    >>> oracle = KnownPreference(seed=1)
    >>> round(oracle("Hello.", "No.", "Which is calmer?") + oracle("No.", "Hello.", "Which is calmer?"), 6)
    1.0
    """

    seed: int = 0
    spread: float = 1.5

    def __call__(self, first: str, second: str, question: str) -> float:
        """Return P(first is what the question asks for). first, second, question: texts."""
        return sigmoid(self.log_odds(first, second, question))

    def log_odds(self, first: str, second: str, question: str) -> float:
        """Return q, bounded to [-20, 20]. first, second, question: texts."""
        difference = _score(self.seed, first, question) - _score(self.seed, second, question)
        return clip(self.spread * difference / math.sqrt(2))


@lru_cache(maxsize=65536)
def _score(seed: int, text: str, question: str) -> float:
    return NormalDist().inv_cdf(uniform("score", seed, text, question))
