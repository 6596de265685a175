"""What may be shown: keys are taken out of every text, and text from outside becomes one short line."""

from __future__ import annotations

REVEALED = set[str]()
"""Keys that this process has read from the environment: see `Secret.reveal`."""
MAX_TEXT = 300
"""Characters of a server's text that are kept in an error."""


def redact(text: str) -> str:
    """Return text with every revealed secret replaced by ``[redacted]``."""
    for value in REVEALED:
        text = text.replace(value, "[redacted]")
    return text


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """Return text without keys, line breaks and control characters, cut to a length: fit for logs and terminals.

    Keys go first, as half a key is left where a cut goes through it.
    """
    # 20 times the limit, as runs of spaces shrink: a page of megabytes need not be looked at sign by sign.
    printable = "".join(sign if sign.isprintable() else " " for sign in redact(text)[: 20 * limit])
    return " ".join(printable.split())[:limit]
