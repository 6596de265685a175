"""The options of `openai`, and what they may not say."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from morlaif_core import FeedbackProvider, Options, Secret, Tuning

OPENAI_URL = "https://api.openai.com/v1"


class OpenAIOptions(Options):
    """Which model judges, where it is served, and which variable holds the key."""

    model: str = Field(min_length=1, description="the model's name at the server")
    base_url: str | None = Field(None, description=f"null: {OPENAI_URL}; https, but for a server on this machine")
    api_key: Secret | None = Field(
        Secret("OPENAI_API_KEY"), description="NAME of the variable with the key; null: the server wants none"
    )
    timeout: float = Tuning(60.0, gt=0, le=600, description="seconds until a request counts as lost")

    @field_validator("base_url")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(value)
        return value

    @property
    def url(self) -> str:
        """The server's address."""
        return self.base_url or OPENAI_URL


def check_url(url: str) -> None:
    """Raise ValueError for an address without a host, with a key inside, or in clear text beyond this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address; write it like {OPENAI_URL}")
    if parts.username or parts.password or parts.query:
        raise ValueError("it carries credentials or a query; name the key's variable in api_key instead")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise ValueError(f"{url!r} would send texts and key in clear; use https (http is for this machine only)")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def build(options: OpenAIOptions) -> FeedbackProvider:
    """Make the provider; the SDK is imported here. Raises `UserError` where the key's variable is not set."""
    from .provider import OpenAIJudge

    return OpenAIJudge(options)
