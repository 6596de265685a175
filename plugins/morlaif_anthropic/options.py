"""The options of `anthropic`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from morlaif_core import Capabilities, RemoteOptions, Secret, Tuning

HINTS = {
    "thinking": "set thinking_tokens above 0 for a model that always thinks, or `extra: {thinking: …}`",
    "output_config": "set structured: false",
    "json_schema": "set structured: false",
}
"""Part of a refusal -> which option to change."""


class AnthropicOptions(RemoteOptions):
    """Which model judges, where it is served, which variable holds the key, and whether it thinks."""

    official: ClassVar[str] = "https://api.anthropic.com"
    taken: ClassVar[frozenset[str]] = frozenset({"model", "messages", "system", "max_tokens", "stream"})

    base_url: str | None = Field(
        None,
        description="the server's address, without `/v1`; null: the provider's own; must be https, except on this machine",
    )
    api_key: Secret | None = Field(
        Secret("ANTHROPIC_API_KEY"), description="NAME of the variable with the key; null: the server needs none"
    )
    cache: bool = Tuning(
        False,
        description="cache the common prefix of a pair's principles at the server; saves money from two principles on",
    )

    def capabilities(self) -> Capabilities:
        """Return what the models can do: no log-probabilities, and current ones refuse a temperature."""
        return Capabilities(structured=self.structured, temperature=False, thinking_tokens=self.thinking_tokens)
