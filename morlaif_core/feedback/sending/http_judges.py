"""What judges behind an HTTP API share: their address and key, and what becomes of whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, ClassVar, Generic, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from morlaif_core.config.addresses import is_loopback
from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Options, Secret, Tuning
from morlaif_core.redaction import one_line
from morlaif_core.types import Answer, Capabilities, ProviderError, Request

from .http_bodies import ODD
from .http_errors import FilteredError, provider_error

T = TypeVar("T")
O = TypeVar("O", bound="RemoteOptions")  # noqa: E741 - of options, as in `Component`
C = TypeVar("C")
CONNECT_SECONDS = 10.0
_NOT_SENT = {
    *("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"),  # httpx
    *("ConnectionRefusedError", "gaierror", "ClientConnectorError"),  # Python, aiohttp
}
_BROKEN_OFF = {"APIConnectionError", "TransportError", "HTTPError", "ClientError", "OSError"}
_REDIRECTS = " redirects elsewhere; put the real address into base_url"
_NOT_FOUND = ": not found there; check judges.NAME.model and base_url"


class RemoteOptions(Options):
    """The options that any judge behind an HTTP API has; ``official`` is the address where none is given."""

    official: ClassVar[str] = ""
    taken: ClassVar[frozenset[str]] = frozenset()
    """Keys of a request that the provider sets itself; `extra` may not."""

    model: str = Field(min_length=1, description="the model's name at the server")
    base_url: str | None = Field(
        None, description="the server's address; null: the provider's own; https, except on this machine"
    )
    api_key: Secret | None = Field(None, description="NAME of the variable with the key; null: the server needs none")
    timeout: float = Tuning(60.0, gt=0, le=600, description="seconds until a request counts as lost")
    structured: bool = Field(True, description="the model can answer by a JSON schema")
    thinking_tokens: int = Field(
        0, ge=0, le=100_000, description="tokens that the model may think before it answers, on top of the answer's own"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="further keys of each request, as the server documents them"
    )

    @field_validator("base_url")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is not None:
            _check_url(value)
        return value

    @field_validator("extra")
    @classmethod
    def _free(cls, value: dict[str, Any]) -> dict[str, Any]:
        if clash := sorted(value.keys() & cls.taken):
            raise ValueError(f"{', '.join(clash)} is set by the provider; there are options for it")
        try:
            json.dumps(value, allow_nan=False)  # the identity is made of it, and every request carries it
        except TypeError as error:
            raise ValueError(f"{error}; put a date in quotes") from None
        return value

    def endpoint(self, hints: dict[str, str] | None = None) -> Endpoint:
        """Return where the judge is served. hints: part of a refusal -> which option to change."""
        return Endpoint(
            (self.base_url or self.official).rstrip("/"), self.model, self.api_key, self.timeout, hints or {}
        )

    def billed_as(self) -> str:
        """Return the model's name in the price table: plain at the official address, else ``HOST/model``."""
        where = self.endpoint()
        return self.model if where.url == self.official else f"{where.host}/{self.model}"

    def identity(self, api: str) -> str:
        """Return what an answer depends on besides the request: API, address, model, and what each request carries.

        api: the API's name.
        """
        more = dict(self.extra) | ({"thinking_tokens": self.thinking_tokens} if self.thinking_tokens else {})
        return f"{api}:{self.endpoint().host}:{self.model}" + (f":{json.dumps(more, sort_keys=True)}" if more else "")


@dataclass(frozen=True)
class Endpoint:
    """Where a judge is served. It holds the name of the key's variable, never the key. Made by `RemoteOptions.endpoint`.

    Attributes:
        url: the address, such as https://example.com/v1.
        model: its name there.
        api_key: the name of the key's variable; None: no key.
        timeout: seconds until a request counts as lost.
        hints: part of a refusal -> which option to change.
    """

    url: str
    model: str
    api_key: Secret | None
    timeout: float
    hints: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Host, port and path."""
        parts = urlsplit(self.url)
        return parts.netloc + parts.path.rstrip("/")

    @property
    def local(self) -> bool:
        """Whether the server is on this machine. Then no proxy may be used: text and key go in clear."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def connect_timeout(self) -> float:
        """Seconds to get a connection: who is not reached has read, and bills, nothing, so this may be short."""
        return min(CONNECT_SECONDS, self.timeout)

    def key(self) -> str:
        """Return the key, empty where none is wanted. Raises `UserError` where the variable holds none."""
        if self.api_key is None:
            return ""
        try:
            key = self.api_key.reveal()
        except KeyError:
            key = ""
        if not key:
            raise UserError(
                f"the variable {self.api_key} is not set; export it with your key, or name another in api_key"
            )
        # An HTTP header cannot hold these; they mostly come from copying the key.
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(f"the variable {self.api_key} holds a line break, a space or a character that no key has")
        return key

    async def ask(self, sending: Awaitable[Answer]) -> Answer:
        """Await an answer as `call` does; where the server's filter refused the texts, that is the answer.

        sending: the request under way.
        """
        try:
            return await self.call(sending)
        except FilteredError as error:
            return Answer(text=str(error), finish="filtered")

    async def call(self, sending: Awaitable[T], *, seconds: float | None = None) -> T:
        """Await what an SDK or an HTTP client sends. Raises `ProviderError` for all that goes wrong, and nothing else.

        The client's own exceptions hold the request, and with it the key: they are neither passed on nor chained.

        sending: the request under way. seconds: how long it may take in all, a trickling body included; None: the `timeout`.
        """
        limit = seconds or self.timeout
        try:
            # Around the whole: an SDK's timeout is for each read, and a slow drip never ends.
            async with asyncio.timeout(limit):
                return await sending
        except ProviderError as error:
            failure = self._advised(error)
        except Exception as error:  # any exception of the client's may hold the key
            failure = self._advised(_sorted(error, self.host, limit))
        # Outside the except block, or Python would keep the exception as the context of this one.
        raise failure

    def settle(self, entry: dict[str, Any], read: Callable[[dict[str, Any]], Answer]) -> Answer | ProviderError:
        """Read one entry of a batch's results: as `ask`, but an error is returned, for the other entries to be read.

        entry: the line's object. read: makes an answer of it.
        """
        try:
            return read(entry)
        except FilteredError as error:
            return Answer(text=str(error), finish="filtered")
        except ProviderError as error:
            return self._advised(error)
        except ODD as error:
            return ProviderError(f"broken entry ({type(error).__name__})", "transient", billed=True)

    def _advised(self, error: ProviderError) -> ProviderError:
        """Return an error anew, without traceback and context; one that stops the run also says what to do."""
        message = str(error)
        if error.kind == "run":
            status = re.match(r"HTTP (\d)", message)
            hint = next((hint for part, hint in self.hints.items() if part in message.lower()), None)
            known = {"HTTP 401": self._key_advice, "HTTP 403": self._key_advice, "HTTP 404": _NOT_FOUND}
            advice = _REDIRECTS if status and status[1] == "3" else known.get(message[:8], "")
            message = f"model {self.model!r} at {self.host}{advice}: {message}" + (f" ({hint})" if hint else "")
        return type(error)(message, error.kind, retry_after=error.retry_after, billed=error.billed, reason=error.reason)

    @property
    def _key_advice(self) -> str:
        return f", key from the variable {self.api_key or '(none: set api_key)'}"


class RemoteJudge(ABC, Generic[O, C]):
    """What every provider behind an HTTP API does alike; its own class makes the SDK's client and sends by `_send`.

    Nothing is retried here: the core does that, and counts what it may cost.

    Args:
        api: the API's name, part of the provider's identity.
        options: the provider's.
        endpoint: where the judge is served.
        client: the SDK's, closed by `aclose`.
        capabilities: what the model can do.
    """

    def __init__(self, api: str, options: O, endpoint: Endpoint, client: C, capabilities: Capabilities) -> None:
        self._options, self._endpoint, self._client = options, endpoint, client
        self.identity, self.capabilities = options.identity(api), capabilities

    async def ask(self, request: Request) -> Answer:
        """Send one request, as it is. request: what is asked. Raises `ProviderError`; its text never holds the key."""
        return await self._endpoint.ask(self._send(request))

    async def aclose(self) -> None:
        """Close the connections."""
        await cast(Any, self._client).close()

    @abstractmethod
    async def _send(self, request: Request) -> Answer:
        """Send one request by the SDK and read its answer; whatever this raises becomes a `ProviderError`."""


def _sorted(error: Exception, host: str, limit: float) -> ProviderError:
    """Sort an exception by what it tells of itself: the core imports no SDK, and each has classes of its own."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    # Redirects (3xx) too: the key would follow to whatever address they name.
    if response is not None and isinstance(status, int) and status >= 300:
        return provider_error(status, response.text, dict(response.headers))
    causes = [cause for cause in (error, error.__cause__) if cause is not None]
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    cause, said = type(causes[-1]).__name__, one_line(str(causes[-1]))
    if names & _NOT_SENT:
        unreached = f"connection failed: {host} cannot be reached ({cause}: {said})"
        return ProviderError(unreached, "transient", reason="unsent")
    if any("Timeout" in name for name in names):
        return ProviderError(f"no answer within {limit:g} s", "transient", billed=True)
    if names & _BROKEN_OFF:
        return ProviderError(f"connection failed: it broke off ({cause})", "transient", billed=True)
    # A plugin's bug, or ours: where it happened is all that can be told without the request.
    place = traceback.extract_tb(error.__traceback__)[-1]
    return ProviderError(f"unexpected {cause} at {PurePath(place.filename).name}:{place.lineno}: {said}", "run")


def _check_url(url: str) -> None:
    """Raise ValueError for an address without a host, with a key inside, or in clear text beyond this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address; write it like https://example.com/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it carries credentials, a query or a fragment; name the key's variable in api_key instead")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{url!r} would send texts and key in clear; use https (http is for this machine only)")
