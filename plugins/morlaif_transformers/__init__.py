"""Local models through transformers: the sampler ``transformers`` and the judge of the same name."""

from __future__ import annotations

from collections.abc import Iterable

from morlaif_core import Component, FeedbackProvider, Options, Sampler, Tuning, component, hookimpl, missing_judge_model

from .options import TransformersJudgeOptions


class TransformersSamplerOptions(Options):
    """How local responses are drawn."""

    batch_size: int = Tuning(64, ge=1, description="responses drawn at once; more is faster and takes more memory")


def build_sampler(options: TransformersSamplerOptions) -> Sampler:
    """Build the sampler; models are loaded at its first call."""
    from .sampler import TransformersSampler

    return TransformersSampler(options.batch_size)


def build_judge(options: TransformersJudgeOptions) -> FeedbackProvider:
    """Build the judge: its model is resolved now, loaded at its first question. Raises `UserError`."""
    from .judge import TransformersJudge

    return TransformersJudge(options)


def missing(options: TransformersJudgeOptions) -> Iterable[str]:
    """Say what is needed before a run, without importing what is heavy."""
    return missing_judge_model(options.target)


@hookimpl
def morlaif_samplers() -> list[Component[Sampler]]:
    """Offer the sampler."""
    return [
        component(
            "transformers", build_sampler, TransformersSamplerOptions, "samples from a local model, batched by length"
        )
    ]


@hookimpl
def morlaif_feedback_providers() -> list[Component[FeedbackProvider]]:
    """Offer the judge."""
    summary = "next-token probabilities of a local model; principles of a pair share its key-value cache"
    return [
        component(
            "transformers",
            build_judge,
            TransformersJudgeOptions,
            summary,
            missing=missing,
            capabilities=TransformersJudgeOptions.capabilities,
        )
    ]
