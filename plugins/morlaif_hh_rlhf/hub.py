"""The hub's data sets: loading them, and saying before a run whether that can work."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from morlaif_core import UserError

TIMEOUT = 2.0
"""Seconds to wait for the hub before it counts as out of reach."""
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def load(name: str, /, **arguments: Any) -> Any:
    """Return a ``datasets.DatasetDict``. arguments: of ``datasets.load_dataset``. Raises UserError where it fails."""
    import datasets

    try:
        return datasets.load_dataset(name, **{key: value for key, value in arguments.items() if value is not None})
    except (
        OSError,
        ValueError,
        datasets.exceptions.DatasetsError,
        datasets.exceptions.DatasetGenerationError,
    ) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"data set {name} could not be loaded from the hub ({reason}); {_advice(name)}") from error


def missing(name: str) -> list[str]:
    """Say what loading a data set still needs: nothing where it is cached or the hub answers."""
    if _cached(name):
        return []
    if _offline():
        return [f"data set {name}: not in the local cache, and the environment forbids the hub; {_advice(name)}"]
    if not _reachable():
        return [f"data set {name}: not in the local cache, and the hub cannot be reached; {_advice(name)}"]
    return []


def _advice(name: str) -> str:
    return f"connect to the network, or fetch {name} elsewhere and set dataset.path to the file"


def _offline() -> bool:
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def _cached(name: str) -> bool:
    """Look for what an earlier ``load_dataset`` prepared, where the library `datasets` looks for it when offline."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or home)
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    *owner, last = name.split("/")
    snake = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", last).lower()
    return any(path.is_dir() for path in (cache / "___".join([*owner, snake])).glob("*/*/*"))


def _reachable() -> bool:
    """Try to open a connection to the hub; behind a proxy only the proxy could tell, so take it as reachable."""
    if any(os.environ.get(proxy) for proxy in _PROXIES):
        return True
    parts = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT):
            return True
    except OSError:
        return False
