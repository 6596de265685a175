"""The model hub as a run finds it, without importing its client: what is cached, whether it can be asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 2.0
"""Seconds to wait for the hub before it counts as out of reach."""
_FORBIDDING = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def hub_snapshot(model: str, revision: str | None = None) -> Path | None:
    """Return the folder of a hub model in the local cache (its name is the commit), None where it is not there.

    Follows HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME as the hub's client does. A snapshot counts when it has a config.

    model: its id. revision: a branch, tag or commit; None: main.

    >>> hub_snapshot("nobody/nothing")
    """
    repository = _cache() / f"models--{model.replace('/', '--')}"
    wanted = revision or "main"
    reference = repository / "refs" / wanted
    # A revision that is a commit itself has no file under refs/.
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None


def has_weights(folder: Path) -> bool:
    """Say whether a folder holds safetensors weights."""
    return any(folder.glob("*.safetensors"))  # `load_model` reads no pickles


def hub_problem(*variables: str) -> str | None:
    """Say why nothing can be had from the hub now, None where it can be asked: by one connection of at most 2 s.

    variables: of the environment, which forbid the hub beside HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE (those of other
    libraries). Look into the cache first: what is there needs no hub.

    >>> os.environ["HF_HUB_OFFLINE"] = "1"
    >>> hub_problem()
    'HF_HUB_OFFLINE forbids the hub'
    """
    for name in (*_FORBIDDING, *variables):
        # The values that huggingface_hub takes for true.
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return f"{name} forbids the hub"
    return None if _reachable() else "the hub cannot be reached"


def _reachable() -> bool:
    """Try to open a connection to the hub; behind a proxy only the proxy could tell, so take it as reachable."""
    if any(os.environ.get(proxy) for proxy in _PROXIES):
        return True
    parts = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT):
            return True
    except (OSError, ValueError):  # a ValueError: HF_ENDPOINT is no address
        return False


def _cache() -> Path:
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return Path(direct).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"
