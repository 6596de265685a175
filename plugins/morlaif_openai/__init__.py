"""Judges behind an OpenAI-compatible chat completions API: OpenAI itself, vLLM, llama.cpp and others."""

from __future__ import annotations

from morlaif_core import Component, FeedbackProvider, component, hookimpl

from .options import OpenAIOptions, build


@hookimpl
def morlaif_feedback_providers() -> list[Component[FeedbackProvider]]:
    """Offer `openai`."""
    summary = "a model behind an OpenAI-compatible API, by log-probabilities where it gives them"
    return [
        component(
            "openai",
            build,
            OpenAIOptions,
            summary,
            bills=OpenAIOptions.billed_as,
            capabilities=OpenAIOptions.capabilities,
        )
    ]
