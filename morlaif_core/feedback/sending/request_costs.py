"""What requests may cost at most, what answers did cost, and how many tokens a rate limit counts for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from morlaif_core.config.judge_settings import Price
from morlaif_core.feedback.ledger.amounts import Amount, usd
from morlaif_core.types import Answer, Request, Usage

TOKENS_PER_MESSAGE = 16
"""A message's role and marks, and what a chat template sets around it: at most."""
TOKENS_PER_SCHEMA = 512
"""What a provider tells its model about a schema, besides the schema: at most (Anthropic lists 313 to 346 for tools)."""
BYTES_PER_TOKEN = 4
"""Of English text, about; only rate limits are planned with it."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Counts for one judge. price: None where it is not known, then USD stay 0."""

    price: Price | None
    batch: bool = False

    def worst(self, requests: Sequence[Request]) -> Amount:
        """Return what requests cost at most.

        Input: a token is a byte at least in every tokenizer that works on bytes; output: `max_tokens`. A provider that
        reads pairs counts no tokens.
        """
        return self._amount([_most(request) for request in requests])

    def spent(self, answers: Sequence[Answer], worst: Amount) -> Amount:
        """Return what answers cost; where one does not tell its tokens, the worst case of them all."""
        usages = [answer.usage for answer in answers]
        # A missing count is no free answer: the cap is hard, so the worst case stands.
        if worst.tokens and not all(usage.input or usage.output for usage in usages):
            return worst
        return self._amount(usages)

    def _amount(self, usages: Sequence[Usage]) -> Amount:
        cost = sum(usd(usage, self.price, batch=self.batch) or 0.0 for usage in usages)
        return Amount(cost, len(usages), sum(usage.input + usage.output for usage in usages))


def estimated(requests: Sequence[Request]) -> float:
    """Return about how many tokens a rate limit counts for what requests have to say."""
    return sum(_bytes(request) for request in requests) / BYTES_PER_TOKEN


def _most(request: Request) -> Usage:
    if not request.messages:
        return Usage()
    tokens = _bytes(request) + TOKENS_PER_MESSAGE * (len(request.messages) + 1)
    if request.schema is not None:
        tokens += TOKENS_PER_SCHEMA + len(json.dumps(request.schema))
    return Usage(input=tokens, output=request.max_tokens, written=tokens)  # putting all into a cache costs most


def _bytes(request: Request) -> int:
    # Bytes bound every tokenizer that works on bytes, so that none has to be had for a hosted model.
    return sum(len(turn.content.encode(errors="surrogatepass")) for turn in request.messages)
