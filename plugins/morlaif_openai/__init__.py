"""Judges behind an OpenAI-compatible chat completions API: OpenAI itself, vLLM, llama.cpp and others."""

from __future__ import annotations

from morlaif_core import Component, FeedbackProvider, component, hookimpl

from .options import OpenAIOptions


def build(options: OpenAIOptions) -> FeedbackProvider:
    """Make the provider; the SDK is imported here. Raises `UserError` where the key's variable is not set."""
    from .provider import OpenAIJudge

    return OpenAIJudge(options)


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
