"""Anthropic's batch API: requests in one call, answers within a day at half the price, joined by our own ids.

Leaves out: finding a batch whose id was lost, because the API stores no name: the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2

from morlaif_core import Answer, ProviderError, RemoteJudge, Request, error_in_body, json_lines, read_body

from .message import constants, message_body, read_message
from .options import AnthropicOptions

FILE_SECONDS = 600.0  # of a call that carries thousands of requests or answers, whatever the timeout of one request


class MessageBatches(RemoteJudge[AnthropicOptions, anthropic.AsyncAnthropic]):
    """A judge's batch API: what it does beside single requests, which its subclass sends."""

    max_batch_requests = 5000  # of 100,000 allowed: 50 KB a request before the call is too large (256 MB)

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        """Start a batch. Returns its id. The name is not stored: the API has no place for it."""
        return await self._endpoint.call(self._submit(requests), seconds=FILE_SECONDS)

    async def find(self, name: str) -> str | None:
        """Raise `ProviderError`: batches carry no name."""
        raise ProviderError("its batches carry no name", "item")

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        """Return what came of each request; None while the batch is at work."""
        return await self._endpoint.call(self._fetch(batch), seconds=FILE_SECONDS)

    async def _submit(self, requests: Mapping[str, Request]) -> str:
        entries: list[Any] = [
            {"custom_id": key, "params": message_body(request, self._options) | constants(request, self._options)}
            for key, request in requests.items()
        ]
        raw = await self._client.messages.batches.with_raw_response.create(requests=entries)
        return read_body(await raw.read(), lambda body: str(body["id"]))

    async def _fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        raw = await self._client.messages.batches.with_raw_response.retrieve(batch)
        if read_body(await raw.read(), lambda body: str(body["processing_status"])) != "ended":
            return None
        # Not by the SDK's `results`, which sends the key to whatever address the server calls its `results_url`.
        path = f"/v1/messages/batches/{quote(batch, safe='')}/results"
        response = await self._client.get(path, cast_to=httpx2.Response)
        lines = json_lines(response.content)
        # Line by line, so that one broken line does not cost the answers of the others.
        return {str(line.get("custom_id")): self._endpoint.settle(line, _read_line) for line in lines}


def _read_line(line: dict[str, Any]) -> Answer:
    result = line["result"]
    if result["type"] == "succeeded":
        return read_message(result["message"])
    if result["type"] == "errored":
        raise error_in_body(result["error"], billed=False)
    raise ProviderError(f"not answered in the batch ({result['type']})", "transient")
