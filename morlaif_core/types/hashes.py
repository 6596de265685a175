"""Ids and fingerprints: hashes of content."""

from __future__ import annotations

import hashlib
import json

# Every id and fingerprint is a hash of these bytes: with another form every run would be made anew.
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def content_hash(*parts: object) -> str:
    """Return 16 hex digits that depend on the JSON form of the parts alone: the same in every run.

    parts: anything; what JSON does not know counts as its text.

    >>> content_hash("prompt", [1, 2]) == content_hash("prompt", (1, 2))
    True
    """
    # 64 bits: among ten million ids a collision has a chance of 3 in 1,000,000.
    return hashlib.sha256(_JSON.encode(parts).encode(errors="surrogatepass")).hexdigest()[:16]
