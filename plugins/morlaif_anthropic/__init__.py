"""Claude as a judge, by Anthropic's messages API or a server that speaks it."""

from __future__ import annotations

from morlaif_core import Component, FeedbackProvider, component, hookimpl

from .options import AnthropicOptions


def build(options: AnthropicOptions) -> FeedbackProvider:
    """Make the provider; the SDK is imported here. Raises `UserError` where the key's variable is not set."""
    from .provider import AnthropicJudge

    return AnthropicJudge(options)


@hookimpl
def morlaif_feedback_providers() -> list[Component[FeedbackProvider]]:
    """Offer `anthropic`."""
    summary = "Claude: verdicts by a JSON schema, no log-probabilities"
    return [
        component(
            "anthropic",
            build,
            AnthropicOptions,
            summary,
            bills=AnthropicOptions.billed_as,
            capabilities=AnthropicOptions.capabilities,
        )
    ]
