"""What the local cache of the model hub holds, found without importing the hub's client; light enough for `check`."""

from __future__ import annotations

import os
from pathlib import Path


def hub_snapshot(model: str, revision: str | None = None) -> Path | None:
    """Return the folder of a hub model in the local cache (its name is the commit), None where it is not there.

    Follows HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME as the hub's client does. A snapshot counts when it has a config.
    """
    repository = _cache() / f"models--{model.replace('/', '--')}"
    wanted = revision or "main"
    reference = repository / "refs" / wanted
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else wanted
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None


def has_weights(folder: Path) -> bool:
    """Say whether a folder holds safetensors weights."""
    return any(folder.glob("*.safetensors"))


def _cache() -> Path:
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return Path(direct).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"
