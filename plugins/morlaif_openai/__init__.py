"""Judges behind an OpenAI-compatible chat completions API: OpenAI itself, vLLM, llama.cpp and others."""

from __future__ import annotations

from morlaif_core import Component, FeedbackProvider, component, hookimpl

from .options import OpenAIOptions, build


@hookimpl
def morlaif_feedback_providers() -> list[Component[FeedbackProvider]]:
    """Offer `openai`."""
    return [
        component("openai", build, OpenAIOptions, "one token and its log-probabilities from an OpenAI-compatible API")
    ]
