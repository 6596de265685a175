"""Families of language models, by their names: members of one tend to err alike."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FAMILIES = {"chatgpt": "gpt", "davinci": "gpt", "o": "gpt", "mixtral": "mistral", "ministral": "mistral"}


def model_family(model: str) -> str:
    """Return the family that a model's name starts with: ``meta-llama/Llama-3.1-8B`` -> llama, ``o3-mini`` -> gpt."""
    # The last part of the name, without the hub's owner; letters alone, without version and size.
    found = re.match(r"[a-z]+", re.split(r"[/\s]", model.strip().lower())[-1])
    name = found[0] if found else model
    return _FAMILIES.get(name, name)


def one_family(models: Mapping[str, str]) -> str | None:
    """Return a warning where two members (name -> model) are of one family, None where all differ."""
    families: dict[str, list[str]] = {}
    for member, model in models.items():
        families.setdefault(model_family(model), []).append(member)
    shared = [f"{' and '.join(names)} ({family})" for family, names in families.items() if len(names) > 1]
    if not shared:
        return None
    return f"of one model family: {', '.join(shared)}; they tend to err alike, and are worth less than they count"
