"""The offline judge: measures both responses, and turns the scaled difference into a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import metadata

from morlaif_core import Answer, Capabilities, Prompt, ProviderError, Request, content_hash

from .catalogue import foreign, lookup
from .embedding import MiniLM
from .language import LanguageWatch
from .measures import VERSION, Measure
from .options import RulesOptions, refuses, term_of

# The core clips log-odds there too; beyond, the probability would round to 0 or 1.
MOST_LOG_ODDS = 20.0
Item = tuple[Prompt, str]


class Rules:
    """Feedback provider that reads pairs. Same request, same answer, on any machine (embeddings: up to rounding)."""

    def __init__(self, options: RulesOptions) -> None:
        self._options = options
        self._embedder = MiniLM() if options.embedder == "minilm" else None
        self._language = LanguageWatch()

    @property
    def identity(self) -> str:
        """``rules-VERSION-HASH``: the hash is of the options that matter and of the versions of what measures."""
        used = [metadata.version("vaderSentiment"), self._embedder.identity if self._embedder else None]
        used += foreign(self._options.measures.values())
        # As `term_of` reads them: another spelling of the same options is not another judge.
        chosen = {key.replace("-", "_"): term for key, term in self._options.measures.items()}
        return f"rules-{VERSION}-{content_hash(chosen, self._options.sharpness, used)}"

    @property
    def capabilities(self) -> Capabilities:
        """Reads pairs, many at once."""
        return self._options.capabilities()

    async def ask(self, request: Request) -> Answer:
        """Answer one request; see `ask_many`."""
        return self.ask_many([request])[0]

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, in order; p_first is P(first is what the question asks for).

        0.5 exactly where the measure's difference is within its tie band, else sigmoid(sharpness * difference / unit).
        A measure says which response is better; for a principle that picks the worse one it is reversed, because
        the answer is to the question as put. Raises ProviderError (run) for a principle that cannot be measured.
        """
        # Of the prompts, which people wrote: a model that has learned little yet writes no language.
        self._language.see(request.prompt.messages[-1].content for request in requests)
        terms = {request.principle.name: self._term(request) for request in requests}
        wanted: dict[str, tuple[Measure, set[Item]]] = {}
        for request in requests:
            measure = terms[request.principle.name][1]
            items = wanted.setdefault(measure.name, (measure, set()))[1]
            # A set: a response stands in requests of both orders and is measured once.
            items.update([(request.prompt, request.first), (request.prompt, request.second)])
        values = {name: self._rate(measure, list(items)) for name, (measure, items) in wanted.items()}
        return [self._answer(request, *terms[request.principle.name], values) for request in requests]

    def _term(self, request: Request) -> tuple[float, Measure]:
        why = refuses(self._options, request.principle)
        term = term_of(self._options, request.principle.name)
        if why or term is None:
            raise ProviderError(why or "no measure", "run")
        return lookup(term)

    def _rate(self, measure: Measure, items: list[Item]) -> dict[Item, float]:
        if measure.rate is not None:
            return {item: measure.rate(*item) for item in items}
        if self._embedder is None:
            raise ProviderError(f"the measure '{measure.name}' needs embedder: minilm", "run")
        return dict(zip(items, self._embedder.similarities(items), strict=True))

    def _answer(self, request: Request, sign: float, measure: Measure, values: dict[str, dict[Item, float]]) -> Answer:
        rated = values[measure.name]
        better = sign * (rated[request.prompt, request.first] - rated[request.prompt, request.second])
        asked = better if request.principle.picks == "better" else -better
        return Answer(p_first=probability(asked, measure, self._options.sharpness), model=f"rules-{VERSION}")


def probability(difference: float, measure: Measure, sharpness: float = 1.0) -> float:
    """Return the logistic of a difference in units of its measure; 0.5 within the tie band, up to rounding."""
    # 1e-9, so that a difference of exactly the band ties whatever its last digit.
    if abs(difference) <= measure.tie + 1e-9:
        return 0.5
    odds = sharpness * difference / measure.unit
    return 1.0 / (1.0 + math.exp(-min(max(odds, -MOST_LOG_ODDS), MOST_LOG_ODDS)))
