"""The first request about a pair goes ahead: a server that caches prefixes has this one's only once it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from morlaif_core.feedback.asking.requests import Order, Work

PATIENCE = 5.0
"""Seconds that others wait for the first at most: a slot that stands idle costs more than a prefix read twice."""


class Prefixes:
    """Which prefixes a server knows. With many pairs nobody waits: the first go out long before the others."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, Order], asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, work: Work) -> AsyncIterator[None]:
        """Hold a request back while the first about the same pair in the same order is under way."""
        first = self._first.get((work.pair.id, work.order))
        if first is None:
            first = self._first[work.pair.id, work.order] = asyncio.Event()
            try:
                yield
            finally:
                # Also when it failed: the others then go on as if there were no cache.
                first.set()
            return
        if not first.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(first.wait(), PATIENCE)
        yield
