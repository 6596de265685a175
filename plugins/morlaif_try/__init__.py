"""Offers the commands that try a run on other data: `score`, `generate`, `evaluate`, `evaluate-pms`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from morlaif_core import Component, NoOptions, component, hookimpl

if TYPE_CHECKING:
    import click


def _score(options: NoOptions) -> click.Command:
    from .score import score

    return score


def _generate(options: NoOptions) -> click.Command:
    from .generate import generate

    return generate


def _evaluate(options: NoOptions) -> click.Command:
    from .evaluate import evaluate

    return evaluate


def _evaluate_pms(options: NoOptions) -> click.Command:
    from .evaluate_pms import evaluate_pms

    return evaluate_pms


@hookimpl
def morlaif_commands() -> Iterable[Component[click.Command]]:
    """Offer the commands."""
    return [
        component("score", _score, NoOptions, "score responses with the preference models and the reward of a run"),
        component("generate", _generate, NoOptions, "answer prompts with the model before and after training"),
        component("evaluate", _evaluate, NoOptions, "evaluate a run's policy, or another model, on other prompts"),
        component("evaluate-pms", _evaluate_pms, NoOptions, "measure a run's preference models on any labelled pairs"),
    ]
