"""What a provider's `Batches` must do: what is handed in comes back by its key."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from morlaif_core.feedback.asking.requests import request_key
from morlaif_core.feedback.types import Mode
from morlaif_core.plugins.protocols import FeedbackProvider
from morlaif_core.types import Answer, ProviderError, Request

from .answers import check_answer
from .components import require

BATCHES = ("max_batch_requests", "submit", "find", "fetch")
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 60.0


async def check_batches(name: str, provider: FeedbackProvider, mode: Mode, requests: Sequence[Request]) -> None:
    """Hand requests in, find the batch by its name where it is stored, wait for it and check what comes back.

    Raises `ContractError`.
    """
    desk: Any = provider
    require(hasattr(desk, "submit"), f"{name}: it offers no Batches")
    require(desk.max_batch_requests >= 1, f"{name}: max_batch_requests is {desk.max_batch_requests}")
    keyed = {request_key(provider.identity, request): request for request in requests}
    label = f"contract-{uuid.uuid4().hex}"
    batch = await desk.submit(keyed, name=label)
    require(isinstance(batch, str) and bool(batch), f"{name}: submit returned {batch!r}")
    found = await _find(desk, label)
    require(found in (None, batch), f"{name}: batch {batch} is found as {found}")
    require(await _find(desk, label + "-other") is None, f"{name}: it finds a batch that was never handed in")
    results = await _wait(desk, batch)
    strangers = sorted(results.keys() - keyed.keys())
    require(not strangers, f"{name}: keys that were never handed in: {strangers[:3]}")
    for key, result in results.items():
        if not isinstance(result, ProviderError):
            check_answer(name, mode, keyed[key], result, provider.capabilities)


async def _find(desk: Any, label: str) -> Any:
    try:
        return await desk.find(label)
    except ProviderError as error:
        if error.kind != "item":  # it keeps no names
            raise
        return None


async def _wait(desk: Any, batch: str) -> Mapping[str, Answer | ProviderError]:
    pause = FIRST_PAUSE
    while True:
        results: Mapping[str, Answer | ProviderError] | None = await desk.fetch(batch)
        if results is not None:
            return results
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
