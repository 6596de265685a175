"""What requests cost: USD by a price, and amounts that a budget counts with."""

from __future__ import annotations

from dataclasses import dataclass

from morlaif_core.config.judge_settings import Price
from morlaif_core.types import Usage

from .tables import Spent


def usd(usage: Usage, price: Price | None, *, batch: bool = False) -> float | None:
    """Return what an answer costs in USD, None where no price is known."""
    if price is None:
        return None
    cached = price.input if price.cached is None else price.cached
    written = price.input if price.written is None else price.written
    # A server that counts cached tokens beside the input, not in it, must not make this negative.
    fresh = max(0, usage.input - usage.cached - usage.written)
    total = fresh * price.input + usage.cached * cached + usage.written * written + usage.output * price.output
    return total / 1e6 * (price.batch if batch else 1.0)


@dataclass(frozen=True, slots=True)
class Amount:
    """What requests cost: USD, requests sent, tokens read and written."""

    usd: float = 0.0
    requests: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.requests + other.requests, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.usd - other.usd, self.requests - other.requests, self.tokens - other.tokens)

    def booked(self, run: str, judge: str) -> list[Spent]:
        """Return what the ledger adds to its books: nothing where it is nothing."""
        return [Spent(run, judge, self.usd, self.requests, self.tokens)] if self != NOTHING else []


NOTHING = Amount()
