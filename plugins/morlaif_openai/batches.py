"""OpenAI's batch API: requests in a file, answers within a day at half the price, joined by our own ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Never

import openai

from morlaif_core import Answer, ProviderError, RemoteJudge, Request, json_lines, provider_error, read_body

from .chat import chat_body, read_completion
from .options import OpenAIOptions

URL: Final = "/v1/chat/completions"
MAX_BYTES = 200_000_000
"""of a batch's file"""
FILE_SECONDS = 600.0
"""Of a call that carries a file, whatever the timeout of one request."""
LISTED = 1000
"""Batches looked through for a name, newest first."""


class ChatBatches(RemoteJudge[OpenAIOptions, openai.AsyncOpenAI]):
    """A judge's batch API: what it does beside single requests, which its subclass sends."""

    max_batch_requests = 5000  # of 50,000 allowed: 40 KB a request before the file is too large

    async def submit(self, requests: Mapping[str, Request], *, name: str) -> str:
        """Upload the requests and start a batch that carries the name. Returns its id."""
        try:
            file = await self._endpoint.call(self._upload(requests), seconds=FILE_SECONDS)
        except ProviderError as error:  # a file alone costs nothing
            error.reason = "unsent"
            raise
        return await self._endpoint.call(self._start(file, name), seconds=FILE_SECONDS)

    async def find(self, name: str) -> str | None:
        """Look for the name among the latest batches."""
        return await self._endpoint.call(self._find(name), seconds=FILE_SECONDS)

    async def fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        """Return what came of each request; None while the batch is at work."""
        return await self._endpoint.call(self._fetch(batch), seconds=FILE_SECONDS)

    async def _upload(self, requests: Mapping[str, Request]) -> str:
        data = "".join(self._line(key, request) for key, request in requests.items()).encode()
        if len(data) > MAX_BYTES:
            raise ProviderError(f"a batch of {len(data)} bytes is more than the server takes: set batch: false", "run")
        uploaded = await self._client.files.with_raw_response.create(file=("morlaif.jsonl", data), purpose="batch")
        return read_body(uploaded.content, _id)

    async def _start(self, file: str, name: str) -> str:
        created = await self._client.batches.with_raw_response.create(
            input_file_id=file, endpoint=URL, completion_window="24h", metadata={"morlaif": name}
        )
        return read_body(created.content, _id)

    def _line(self, key: str, request: Request) -> str:
        body = chat_body(request, self._options) | self._options.extra
        return json.dumps({"custom_id": key, "method": "POST", "url": URL, "body": body}) + "\n"

    async def _find(self, name: str) -> str | None:
        after: str | openai.Omit = openai.omit
        for _ in range(LISTED // 100):
            raw = await self._client.batches.with_raw_response.list(limit=100, after=after)
            page: list[dict[str, Any]] = read_body(raw.content, lambda body: list(body["data"]))
            for batch in page:
                if (batch.get("metadata") or {}).get("morlaif") == name:
                    return _id(batch)
            if len(page) < 100:
                return None
            after = _id(page[-1])
        return None

    async def _fetch(self, batch: str) -> Mapping[str, Answer | ProviderError] | None:
        raw = await self._client.batches.with_raw_response.retrieve(batch)
        state, status = read_body(raw.content, lambda body: (body, str(body["status"])))
        if status == "failed":
            _failed(state)
        if status not in ("completed", "expired", "cancelled"):
            return None
        results: dict[str, Answer | ProviderError] = {}
        # Failed requests stand in a file of their own; what expired has answers in one and errors in the other.
        for file in (state.get("output_file_id"), state.get("error_file_id")):
            if file:
                content = await self._client.files.with_raw_response.content(file)
                results |= {
                    str(line.get("custom_id")): self._endpoint.settle(line, _read_line)
                    for line in json_lines(content.content)
                }
        return results


def _id(body: dict[str, Any]) -> str:
    return str(body["id"])


def _read_line(line: dict[str, Any]) -> Answer:
    response = line.get("response")
    if response is None:  # expired or cancelled before its turn
        raise ProviderError(f"not answered in the batch ({(line.get('error') or {}).get('code')})", "transient")
    if response["status_code"] != 200:
        raise provider_error(response["status_code"], json.dumps(response["body"]), {})
    return read_body(response["body"], read_completion)


def _failed(state: dict[str, Any]) -> Never:
    """Raise what a batch was refused for as a whole, before any of it ran; the first reason stands for all.

    Where too many tokens are queued it may be handed in again when others have finished, or in parts.
    """
    reasons = (state.get("errors") or {}).get("data") or [{}]
    said = provider_error(400, json.dumps({"error": reasons[0]}), {})
    # The queue's limit passes by itself; any other reason would come back.
    full = "limit" in str(reasons[0].get("code"))
    raise ProviderError(f"the batch failed: {said}", "item", reason="full" if full else None)
