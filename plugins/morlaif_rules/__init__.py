"""The offline judge `rules`: programmatic measures instead of a language model. Needs no network and no key."""

from __future__ import annotations

from collections.abc import Iterable

from morlaif_core import Component, FeedbackProvider, component, hookimpl

from .embedding import INSTALL, model_folder
from .options import RulesOptions, refuses


def _build(options: RulesOptions) -> FeedbackProvider:
    from .judge import Rules

    return Rules(options)


def _missing(options: RulesOptions) -> Iterable[str]:
    if options.embedder == "minilm" and model_folder() is None:
        yield f"the embedding model of judge rules is not installed: {INSTALL}"


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
