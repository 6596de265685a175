"""A provider of batches and what it took in, and judging through it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from morlaif_core.config.judge_settings import Price
from morlaif_core.feedback.ledger.amounts import Amount
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.ledger.spending import spent_by
from morlaif_core.feedback.ledger.tables import Batch
from morlaif_core.types import Answer, Capabilities, ProviderError, Request, Usage
from tests.helpers.known_judges import run, some_pairs

PRICE = Price(input=100.0, output=1000.0)
Entry = Callable[[int], "Answer | ProviderError | None"]
"""By number of the entry, counted over all batches: what came of it; None: it is not among the results."""


class Shop:
    """A provider's side: what it took in and what that cost. It outlives the commands that ask it."""

    def __init__(self, entry: Entry = lambda number: LETTER, *, named: bool = True, polls: int = 2) -> None:
        self.entry, self.named, self.polls, self.listed = entry, named, polls, True
        self.batches: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.looks: dict[str, int] = {}
        self.alone, self.usd = 0, 0.0
        self.said: dict[str, Answer | ProviderError | None] = {}


LETTER = Answer(text="A", usage=Usage(input=100, output=1))


class Batching:
    """Speaks for a shop. broken: raised once by the next call of that name, after it took effect."""

    identity = "batching-1"
    capabilities = Capabilities()
    max_batch_requests = 30

    def __init__(self, shop: Shop, broken: Mapping[str, ProviderError] | None = None, *, refuses: bool = False) -> None:
        self.shop, self._broken, self._refuses = shop, dict(broken or {}), refuses

    async def ask(self, request: Request) -> Answer:
        self.shop.alone += 1
        self.shop.usd += (100 * PRICE.input + PRICE.output) / 1e6
        return LETTER

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        if self._refuses:
            raise self._broken["submit"]
        number = f"batch-{len(self.shop.batches)}"
        self.shop.batches[number] = list(requests)
        self.shop.names[name] = number
        for key in requests:
            said = self.shop.said[number + key] = self.shop.entry(len(self.shop.said))
            if isinstance(said, Answer):
                self.shop.usd += (100 * PRICE.input + PRICE.output) / 2e6
        await self._break("submit")
        return number

    async def find(self, name: str) -> str | None:
        if not self.shop.named:
            raise ProviderError("no names are kept", "item")
        return self.shop.names.get(name) if self.shop.listed else None

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        await self._break("fetch")
        self.shop.looks[batch] = self.shop.looks.get(batch, 0) + 1
        if self.shop.looks[batch] <= self.shop.polls:
            return None
        said = {key: self.shop.said[batch + key] for key in reversed(self.shop.batches[batch])}
        return {key: found for key, found in said.items() if found is not None}

    async def _break(self, call: str) -> None:
        await asyncio.sleep(0)
        if call in self._broken:
            raise self._broken.pop(call)


def judged(provider: object, folder: Path, pairs: int = 20, **more: object) -> list[str]:
    """Judge in batches and return the statuses of the rows."""
    run(provider, some_pairs(pairs), folder, **{"price": PRICE, "name": "r", "batch": True, **more})  # type: ignore[arg-type]
    return statuses(folder)


def statuses(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "judgements.sqlite") as db:
        return [status for (status,) in db.execute("SELECT status FROM rows")]


def open_batches(folder: Path) -> list[Batch]:
    ledger = Ledger(folder / "judgements.sqlite")
    found = ledger.open_batches(Batching.identity)
    ledger.close()
    return found


def spent(folder: Path, name: str = "r") -> Amount:
    return spent_by(name, [folder / "judgements.sqlite"])
