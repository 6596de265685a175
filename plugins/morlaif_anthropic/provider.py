"""One request, one answer through the Anthropic SDK; whatever goes wrong becomes a `ProviderError`."""

from __future__ import annotations

import anthropic
import httpx2

from morlaif_core import Answer, Request, read_body

from .batches import MessageBatches
from .message import constants, message_body, read_message
from .options import HINTS, AnthropicOptions


class AnthropicJudge(MessageBatches):
    """A model behind the messages API. Nothing is retried here: the core does that, and counts what it may cost."""

    def __init__(self, options: AnthropicOptions) -> None:
        endpoint = options.endpoint(HINTS)
        # Address and key are always given: the SDK would take others from the environment or from files. Its spans
        # would carry what was asked to wherever the environment says.
        client = anthropic.AsyncAnthropic(
            api_key=endpoint.key() or "none",
            base_url=endpoint.url,
            timeout=anthropic.Timeout(options.timeout, connect=endpoint.connect_timeout),
            max_retries=0,
            # Not the SDK's own client, which uses the environment's proxies whatever trust_env says.
            http_client=httpx2.AsyncClient(
                follow_redirects=False, trust_env=not endpoint.local, limits=anthropic.DEFAULT_CONNECTION_LIMITS
            ),
            open_telemetry=False,
        )
        super().__init__("anthropic", options, endpoint, client, options.capabilities())

    async def _send(self, request: Request) -> Answer:
        # The body is read here, not by the SDK, which takes an odd one for an answer.
        raw = await self._client.messages.with_raw_response.create(
            **message_body(request, self._options), extra_body=constants(request, self._options)
        )
        return read_body(await raw.read(), read_message)
