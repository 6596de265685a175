"""One request, one answer through the OpenAI SDK; whatever goes wrong becomes a `ProviderError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import openai

from morlaif_core import Answer, Capabilities, ProviderError, Request, Usage, UserError, provider_error

from .options import OpenAIOptions

_OUTSIDE = -9000.0  # the API writes -9999.0 for a token outside the top
_FINISH: dict[str, Literal["stop", "length", "filtered"]] = {"length": "length", "content_filter": "filtered"}


class OpenAIJudge:
    """A model behind chat completions. Nothing is retried here: the core does that, and counts what it may cost."""

    capabilities = Capabilities(reads="messages", max_top_logprobs=20)

    def __init__(self, options: OpenAIOptions) -> None:
        self._options = options
        self._key = _reveal(options)
        parts = urlsplit(options.url)
        self.identity = f"openai:{parts.netloc}{parts.path.rstrip('/')}:{options.model}"
        # base_url is always given: the SDK would take another from the environment, and with it another judge.
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=options.url,
            timeout=options.timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def ask(self, request: Request) -> Answer:
        """Send one request. Raises `ProviderError`; its text never holds the key."""
        try:
            completion = await self._client.chat.completions.create(**self._arguments(request))
            return _answer(completion)
        except ProviderError as error:
            failure = error
        except Exception as error:
            failure = self._sorted(error)
        # Outside the except block: the SDK's exceptions hold the request and with it the key.
        raise failure

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._options.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
            "max_completion_tokens": request.max_tokens,
        }
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.top_logprobs:
            arguments |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        return arguments

    def _sorted(self, error: Exception) -> ProviderError:
        """Sort an exception of the SDK into a kind; what is not its fault passes through as it is."""
        if isinstance(error, openai.APITimeoutError):
            return ProviderError(f"no answer within {self._options.timeout:g} s", "transient", billed=True)
        if isinstance(error, openai.APIStatusError):
            return self._status(error)
        if isinstance(error, openai.APIConnectionError):
            cause = type(error.__cause__).__name__
            reached = not cause.startswith("Connect")  # cut off later: the answer may have been paid for
            return ProviderError(f"connection failed ({cause})", "transient", billed=reached)
        if isinstance(error, openai.APIResponseValidationError | ValueError):  # JSONDecodeError is a ValueError
            return ProviderError(f"broken body ({type(error).__name__})", "transient", billed=True)
        raise error

    def _status(self, error: openai.APIStatusError) -> ProviderError:
        body = self._clean(error.response.text)
        if 300 <= error.status_code < 400:
            return ProviderError(f"{self._options.url} redirects elsewhere; put the real address into base_url", "run")
        sorted_error = provider_error(error.status_code, body, dict(error.response.headers))
        if sorted_error.kind != "run":
            return sorted_error
        advice = f"model {self._options.model!r} at {urlsplit(self._options.url).netloc}"
        if error.status_code in (401, 403):
            advice += f", key from the variable {self._options.api_key or '(none: set api_key)'}"
        if error.status_code == 404:
            advice += ": not found there; check judges.NAME.model and base_url"
        return ProviderError(f"{advice}: {sorted_error}", "run")

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "[redacted]") if self._key else text


def _reveal(options: OpenAIOptions) -> str:
    if options.api_key is None:
        return ""
    try:
        key = options.api_key.reveal()
    except KeyError:
        key = ""
    if not key:
        raise UserError(
            f"the variable {options.api_key} is not set; export it with your key, or name another in api_key"
        )
    return key


def _answer(completion: Any) -> Answer:
    """Read a completion. A 200 may hold an error, nothing, or no choices: then there was no answer."""
    choices = getattr(completion, "choices", None)
    if not choices or getattr(completion, "error", None):
        detail = str(getattr(completion, "error", None) or "empty body")[:300]
        raise ProviderError(f"no choices in the answer: {detail}", "transient", billed=True)
    choice = choices[0]
    finished: Literal["stop", "length", "filtered"] = _FINISH.get(choice.finish_reason, "stop")
    return Answer(
        text=choice.message.content or "",
        finish="refused" if getattr(choice.message, "refusal", None) else finished,
        top_logprobs=_top_logprobs(choice),
        model=str(completion.model or ""),
        usage=_usage(completion.usage),
    )


def _top_logprobs(choice: Any) -> tuple[Mapping[str, float], ...]:
    """Return token -> log-probability for each position, the token drawn among them."""
    positions = choice.logprobs.content if choice.logprobs is not None else None
    tops = []
    for position in positions or ():
        top = {position.token: position.logprob} if position.logprob > _OUTSIDE else {}
        for alternative in position.top_logprobs or ():
            top[alternative.token] = max(alternative.logprob, top.get(alternative.token, alternative.logprob))
        tops.append(top)
    return tuple(tops)


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    return Usage(input=usage.prompt_tokens or 0, cached=cached or 0, output=usage.completion_tokens or 0)
