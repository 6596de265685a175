"""What may be shown: keys are taken out of every text, and text from outside becomes one short line."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

REVEALED = set[str]()
"""Keys that this process has read from the environment: see `Secret.reveal`."""
MAX_TEXT = 300
"""Characters of a server's text that are kept in an error."""


def redact(text: str) -> str:
    """Return text with every revealed secret replaced by ``[redacted]``."""
    for value in REVEALED:
        text = text.replace(value, "[redacted]")
    return text


_KEYS = r"(api|access|secret|private)[-_]?key|token|secret|password|authorization"
_GIVEN = re.compile(rf"(?i)((?:{_KEYS})[\"']?\s*[:=]\s*[\"']?(?:bearer\s+)?)([^\s,}}\"']+)")
_BARE = re.compile(r"\b(?:sk|pk|hf|gsk|xai|ghp)[-_][\w-]{16,}|(?<=://)[^/@\s]+(?=@)")
"""What is a key by its form: those of well-known services, and the user's part of an address."""


def redact_command(arguments: Sequence[str]) -> str:
    """Return a command line as a shell takes it, with what is a key, or stands where one does, replaced.

    The name of a variable that holds a key stays: it is no secret.
    """

    def named(found: re.Match[str]) -> str:
        is_name = re.fullmatch(r"[A-Z_][A-Z0-9_]*|null|~|true|false", found[found.re.groups])
        return found[0] if is_name else f"{found[1]}[redacted]"

    text = shlex.join(_BARE.sub("[redacted]", _GIVEN.sub(named, argument)) for argument in arguments)
    # Wherever a key stands, it is that of a variable.
    keys = (value for name, value in os.environ.items() if re.search(_KEYS, name, re.I) and len(value) >= 8)
    for key in sorted({*keys, *REVEALED}, key=len, reverse=True):
        text = text.replace(key, "[redacted]")
    return text


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """Return text without keys, line breaks and control characters, cut to a length: fit for logs and terminals.

    Keys go first, as half a key is left where a cut goes through it.
    """
    # 20 times the limit, as runs of spaces shrink: a page of megabytes need not be looked at sign by sign.
    printable = "".join(sign if sign.isprintable() else " " for sign in redact(text)[: 20 * limit])
    return " ".join(printable.split())[:limit]
