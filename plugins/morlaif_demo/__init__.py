"""The demo's parts: a self-written corpus of conversations and a tiny base model that is pretrained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morlaif_core import Component, component, hookimpl

from .options import DemoBaseOptions, DemoOptions

if TYPE_CHECKING:
    from morlaif_core import Dataset, ModelMaker


def _build_demo(options: DemoOptions) -> Dataset:
    from .corpus import DemoDataset

    return DemoDataset(options)


def _build_base(options: DemoBaseOptions) -> ModelMaker:
    from .base import DemoBase

    return DemoBase(options)


@hookimpl
def morlaif_datasets() -> list[Component[Dataset]]:
    """Offer the data set ``demo``."""
    summary = "self-written questions with good and bad answers, made by a template grammar"
    return [component("demo", _build_demo, DemoOptions, summary, supplies=frozenset({"labels"}))]


@hookimpl
def morlaif_models() -> list[Component[ModelMaker]]:
    """Offer the model ``demo-base``."""
    summary = "a tiny GPT-2 with its tokenizer, pretrained on the data set's conversations in seconds"
    return [component("demo-base", _build_base, DemoBaseOptions, summary)]
