"""The hub's data sets: loading them, and saying before a run whether that can work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from morlaif_core import UserError, hub_problem


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
    if _cached(name) or (problem := hub_problem("HF_DATASETS_OFFLINE")) is None:
        return []
    return [f"data set {name}: not in the local cache, and {problem}; {_advice(name)}"]


def _advice(name: str) -> str:
    return f"connect to the network, or fetch {name} elsewhere and set dataset.path to the file"


def _cached(name: str) -> bool:
    """Look for what an earlier ``load_dataset`` prepared, where the library `datasets` looks for it when offline."""
    # Searched here, as importing `datasets` takes seconds, and a check before a run is to be quick.
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or home)
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    *owner, last = name.split("/")
    # The name of a folder as `datasets` makes it: owner___name, the name in snake case.
    snake = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", last).lower()
    return any(path.is_dir() for path in (cache / "___".join([*owner, snake])).glob("*/*/*"))
