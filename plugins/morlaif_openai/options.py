"""The options of `openai`."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from morlaif_core import Capabilities, RemoteOptions, Secret

HINTS = {
    "logprob": "set top_logprobs: 0 for a model without log-probabilities, or to the most that the server allows",
    "max_completion_tokens": "set max_tokens_key, see docs/judges.md",
    "max_tokens": "set max_tokens_key, see docs/judges.md",
    "temperature": "set temperature: false",
    "response_format": "set structured: false",
    "json_schema": "set structured: false",
    "reasoning": "see `extra`",
}
"""Part of a refusal -> which option to change."""


class OpenAIOptions(RemoteOptions):
    """Which model judges, where it is served, which variable holds the key, and what this server can do."""

    official: ClassVar[str] = "https://api.openai.com/v1"
    taken: ClassVar[frozenset[str]] = frozenset(
        "model messages max_tokens max_completion_tokens temperature logprobs top_logprobs response_format n stream".split()
    )

    api_key: Secret | None = Field(
        Secret("OPENAI_API_KEY"), description="NAME of the variable with the key; null: the server needs none"
    )
    top_logprobs: int = Field(
        20, ge=0, le=20, description="log-probabilities asked for per token; 0: the model gives none"
    )
    temperature: bool = Field(True, description="the model takes a temperature")
    max_tokens_key: Literal["auto", "max_completion_tokens", "max_tokens"] = Field(
        "auto",
        description="what the server calls its limit; auto: max_completion_tokens at openai.com, else max_tokens",
    )

    @model_validator(mode="after")
    def _thinks_or_tells(self) -> OpenAIOptions:
        if self.thinking_tokens and self.top_logprobs:
            raise ValueError("a model that thinks first gives no log-probabilities of its answer: set top_logprobs: 0")
        return self

    @property
    def limit(self) -> str:
        """The key of a request's limit of tokens.

        Reasoning models of OpenAI refuse `max_tokens`, which is answered by a clear error. Older servers (Ollama,
        llama.cpp) do not know `max_completion_tokens` and drop it in silence: answers would have no limit. So the
        guess for a server that we do not know is the one whose failure is loud.
        """
        if self.max_tokens_key != "auto":
            return self.max_tokens_key
        host = urlsplit(self.base_url or self.official).hostname or ""
        # With the dot, regional hosts (eu.api.openai.com) pass, and none that merely ends in the same letters.
        return "max_completion_tokens" if f".{host}".endswith(".api.openai.com") else "max_tokens"

    def capabilities(self) -> Capabilities:
        """Return what the model can do, as the options say: a server cannot be asked."""
        return Capabilities(
            max_top_logprobs=self.top_logprobs,
            structured=self.structured,
            temperature=self.temperature,
            thinking_tokens=self.thinking_tokens,
        )
