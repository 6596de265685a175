"""The bodies that judges behind an HTTP API send, read without trusting their shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from morlaif_core.types import ProviderError

from .http_errors import error_in_body

T = TypeVar("T")
ODD = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading an answer of an unexpected shape raises."""


def read_body(content: bytes | str | dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
    """Read an answer that came with status 200.

    Args:
        content: JSON, or what a line of a batch held of it.
        read: takes the object apart; what it returns is returned.

    Raises:
        ProviderError: transient and perhaps billed: it is no JSON object, holds an error, or is not what `read` takes
            it for.

    >>> read_body('{"model": "m"}', lambda body: body["model"])
    'm'
    """
    try:
        body = content if isinstance(content, dict) else json.loads(content)
        if isinstance(body, dict) and not body.get("error"):
            return read(body)
        problem = "it is no object"
    except ODD as error:
        body, problem = None, type(error).__name__
    if isinstance(body, dict):
        raise error_in_body(body, billed=True)
    raise ProviderError(f"broken or empty answer ({problem})", "transient", billed=True)


def json_lines(content: bytes | str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; a line that is none is left out, and what it was about counts as open.

    content: the file's.

    >>> list(json_lines('{"id": 1}\\nbroken'))
    [{'id': 1}]
    """
    text = content.decode(errors="replace") if isinstance(content, bytes) else content
    # splitlines would also cut at U+2028 and the like, which JSON allows inside a text.
    for line in text.split("\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def token_count(value: object) -> int:
    """Return a number of tokens as a server tells it; 0 for anything that is none.

    value: what the server said.

    >>> token_count(12), token_count(None)
    (12, 0)
    """
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0
