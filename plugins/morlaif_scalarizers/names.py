"""Principles that options name: `find`."""

from __future__ import annotations

from collections.abc import Iterable


def find(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is this one, ``-`` and ``_`` being the same; None where there is none.

    >>> find("my-style", ["tone", "my_style"])
    'my_style'
    """
    wanted = name.replace("-", "_")
    return next((other for other in known if other.replace("-", "_") == wanted), None)
