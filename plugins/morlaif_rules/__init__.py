"""The offline judge `rules`, programmatic measures instead of a language model, and the preference model `direct`, whose
scores are such a measure. They need no network and no key."""

from __future__ import annotations

from collections.abc import Iterable

from morlaif_core import (
    Component,
    FeedbackProvider,
    PMBackend,
    ScoreFunction,
    component,
    hookimpl,
    score_component,
)

from .embedding import INSTALL, model_folder
from .options import DirectOptions, RulesOptions, refuses


def _build(options: RulesOptions) -> FeedbackProvider:
    from .judge import Rules

    return Rules(options)


def _missing(options: RulesOptions) -> Iterable[str]:
    if options.embedder == "minilm" and model_folder() is None:
        yield f"the embedding model of judge rules is not installed: {INSTALL}"


def _build_direct(options: DirectOptions) -> ScoreFunction:
    from .direct import measured

    return measured(options.measure)


def _direct_missing(options: DirectOptions) -> Iterable[str]:
    if options.measure.removeprefix("-") == "similarity" and model_folder() is None:
        yield f"the embedding model of the measure similarity is not installed: {INSTALL}"


@hookimpl
def morlaif_pm_backends() -> list[Component[PMBackend]]:
    """Offer `direct`."""
    summary = "a measure of the judge rules as the score itself: nothing is judged or trained"
    return [score_component("direct", _build_direct, DirectOptions, summary, missing=_direct_missing)]


@hookimpl
def morlaif_feedback_providers() -> list[Component[FeedbackProvider]]:
    """Offer `rules`."""
    return [
        component(
            "rules",
            _build,
            RulesOptions,
            "offline: words, manners, tone, overlap with the question; no network, no key",
            missing=_missing,
            refuses=refuses,
            capabilities=RulesOptions.capabilities,
        )
    ]
