"""Data sets from the outside: ``hh-rlhf`` and ``preferences`` (many layouts), from the hub or from local files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morlaif_core import Component, UserError, component, hookimpl

from .options import HHOptions, PreferencesOptions

if TYPE_CHECKING:
    from morlaif_core import Dataset, Need


def _build_hh(options: HHOptions) -> Dataset:
    from .hh import hh_dataset

    return hh_dataset(options)


def _build_preferences(options: PreferencesOptions) -> Dataset:
    from .preferences import preferences_dataset

    return preferences_dataset(options)


def _missing_hh(options: HHOptions) -> list[str]:
    from .hub import missing

    return _missing_file(options.path) if options.path is not None else missing("Anthropic/hh-rlhf")


def _missing_preferences(options: PreferencesOptions) -> list[str]:
    from .hub import missing

    return missing(options.name) if options.name is not None else _missing_file(str(options.path))


def _missing_file(path: str) -> list[str]:
    from .source import FileSource

    try:
        FileSource(path)
    except UserError as error:
        return [str(error)]
    return []


@hookimpl
def morlaif_datasets() -> list[Component[Dataset]]:
    """Offer ``hh-rlhf`` and ``preferences``."""
    hh = "Anthropic's HH-rlhf: the hub's subsets, or a local file in its form, with its human labels"
    preferences = (
        "prompts or preferences in many layouts (TRL, PKU-SafeRLHF, …): a hub id, or local JSON, CSV or Parquet"
    )
    labels: frozenset[Need] = frozenset({"labels"})
    return [
        component("hh-rlhf", _build_hh, HHOptions, hh, supplies=labels, missing=_missing_hh),
        component(
            "preferences",
            _build_preferences,
            PreferencesOptions,
            preferences,
            supplies=labels,
            missing=_missing_preferences,
            names=lambda options: options.labels,
        ),
    ]
