"""One request, one answer through the OpenAI SDK; whatever goes wrong becomes a `ProviderError`."""

from __future__ import annotations

import openai

from morlaif_core import Answer, Request, read_body

from .batches import ChatBatches
from .chat import chat_body, read_completion
from .options import HINTS, OpenAIOptions


class OpenAIJudge(ChatBatches):
    """A model behind chat completions. Nothing is retried here: the core does that, and counts what it may cost."""

    def __init__(self, options: OpenAIOptions) -> None:
        endpoint = options.endpoint(HINTS)
        # base_url is always given: the SDK would take another from the environment, and with it another judge.
        client = openai.AsyncOpenAI(
            api_key=endpoint.key() or "none",
            base_url=endpoint.url,
            timeout=openai.Timeout(options.timeout, connect=endpoint.connect_timeout),
            max_retries=0,
            # No redirects, which would carry the key elsewhere; no proxy from the environment for a local server.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not endpoint.local),
        )
        super().__init__("openai", options, endpoint, client, options.capabilities())

    async def _send(self, request: Request) -> Answer:
        # The body is read here, not by the SDK: it takes an odd one for an answer, and needs more time for a proper one.
        create = self._client.chat.completions.with_raw_response.create
        raw = await create(**chat_body(request, self._options), extra_body=self._options.extra)
        return read_body(raw.content, read_completion)
