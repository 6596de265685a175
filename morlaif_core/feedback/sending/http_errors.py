"""What a server says instead of an answer, sorted into the kinds of `ProviderError`: once for all providers."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Literal, NamedTuple

from morlaif_core.redaction import one_line
from morlaif_core.types import ProviderError

Kind = Literal["rate", "transient", "item", "run"]
_GAVE_UP = (408, 504, 524)  # a gateway stopped waiting: what stands behind it may have answered, and charged
_STOPS = (401, 402, 403, 404, 405, 407, 410)
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What APIs call an error that comes without a status; any other is the server's own (500)."""
_ACCOUNT = re.compile(
    "insufficient_quota|billing_hard_limit|billing_not_active|credit balance|insufficient credits|model_not_found"
)
_TOO_LONG = re.compile("context.?(length|window|limit|size)|too long|request.too.large|reduce the length")
_FILTERED = re.compile(r"content_filter|content filter|invalid_prompt|content_policy|your input was flagged")
# By the words, since servers use 400 for both; else each of 10,000 requests would be refused on its own.
_REFUSED_KEY = re.compile(
    r"unsupported|not support|supports at most|unknown (parameter|field|argument)|unrecognized|is deprecated"
    r"|extra.?(inputs|fields|forbidden)|invalid schema|not allowed to request|max allowed|api key"
)
"""Of a parameter or its value: each request carries the same, so each would be refused."""


class FilteredError(ProviderError):
    """A filter of the server refused this request's texts; `Endpoint.ask` makes an answer of it."""


class ErrorText(NamedTuple):
    """What an error's body says. status: the HTTP status that it tells or that its name stands for; None: neither."""

    text: str
    status: int | None = None


def provider_error(status: int, body: str, headers: Mapping[str, str]) -> ProviderError:
    """Sort an HTTP answer into a kind of `ProviderError`.

    rate: 429. transient: 408, 409, 425 and 5xx. run: what meets every request alike, such as a key, a quota, a model
    that is not there, a parameter that this server does not know. item: the rest, such as a text that is too long.

    status: of the answer. body, headers: its own; only the body's codes and message count, not what it repeats of the
    request, or a judged text could sort its error.

    >>> provider_error(429, "slow down", {"retry-after": "2"}).retry_after
    2.0
    """
    said = read_error(body)
    message = f"HTTP {status}: {said.text}"
    kind = _kind(status, said.text.lower())
    if kind == "item" and _FILTERED.search(said.text.lower()):
        return FilteredError(message, "item")
    wait = retry_after(headers) if kind in ("rate", "transient") else None
    reason: Literal["gone"] | None = "gone" if status in (404, 410) else None
    return ProviderError(message, kind, retry_after=wait, billed=status in _GAVE_UP, reason=reason)


def error_in_body(body: Mapping[str, Any], *, billed: bool) -> ProviderError:
    """Sort an error that came in the body of a 200, or in a line of a batch.

    body: the object. billed: it may have been paid for.

    >>> error_in_body({"error": {"message": "overloaded"}}, billed=False).kind
    'transient'
    """
    text = json.dumps(body)
    error = provider_error(read_error(text).status or 500, text, {})
    error.billed = billed
    return error


def read_error(body: str) -> ErrorText:
    """Read codes and message out of an error's body, in the forms that OpenAI, Anthropic, FastAPI and gateways use."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorText(one_line(body))
    # Some gateways wrap the error in a list.
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    found = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    # An error in a 200 or a batch may hold the API's whole body, with an error inside.
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    if not isinstance(found, dict):
        return ErrorText(one_line(found if isinstance(found, str) else body))
    names = [found.get("code"), found.get("type")]
    words = [*names, found.get("message"), found.get("param"), *_details(found.get("detail"))]
    texts = dict.fromkeys(word for word in words if isinstance(word, str) and word)
    return ErrorText(one_line(": ".join(texts) or body), next(filter(None, map(_status, names)), None))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait; None where it says nothing that makes sense.

    Reads ``retry-after-ms``, and ``retry-after`` as seconds or as a date (RFC 9110, 10.2.3), which counts from the
    answer's own ``date`` where there is one: the clock here may be wrong. Negative, infinite and other values are junk.
    """
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _number(lowered.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    raw = lowered.get("retry-after", "")
    seconds = _number(raw)
    until = None if seconds is not None else _moment(raw)
    if until is None:
        return seconds
    now = _moment(lowered.get("date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def _kind(status: int, text: str) -> Kind:
    # First: an exhausted quota comes as 429, and no wait mends it.
    if status < 500 and _ACCOUNT.search(text):
        return "run"
    if status in (408, 409, 425) or status >= 500:
        return "transient"
    # Before 429: one request above the limit a minute is refused by 429 too, however long one waits.
    if status == 413 or _TOO_LONG.search(text):
        return "item"
    if status == 429:
        return "rate"
    if status in (400, 403, 422) and _FILTERED.search(text):
        return "item"
    return "run" if status in _STOPS or status < 400 or _REFUSED_KEY.search(text) else "item"


def _details(detail: object) -> Iterator[object]:
    """FastAPI's ``detail``: a text, or a list of what is wrong where; each also repeats the input, which is left out."""
    if isinstance(detail, str):
        yield detail
    for entry in detail if isinstance(detail, list) else ():
        if isinstance(entry, dict):
            place = entry.get("loc")
            yield ".".join(str(part) for part in place) if isinstance(place, list) else ""
            yield from (entry.get("type"), entry.get("msg"))


def _status(name: object) -> int | None:
    text = str(name)
    return int(text) if re.fullmatch("[45][0-9][0-9]", text) else _STATUS_OF.get(text)


def _number(raw: str) -> float | None:
    # float() alone takes inf, nan and -1; of inf one SDK makes a sleep of 49 days.
    value = float(raw) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", raw) else math.nan
    return value if math.isfinite(value) else None


def _moment(raw: str) -> float | None:
    """Return an HTTP date as seconds since the epoch; None where it is no date."""
    parts = parsedate_tz(raw)
    try:
        # parsedate_tz takes anything like a date, so its numbers may be out of range.
        return float(mktime_tz(parts)) if parts is not None else None
    except (ValueError, OverflowError):
        return None
