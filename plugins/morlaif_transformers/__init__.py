"""Local models through transformers: the sampler ``transformers``."""

from __future__ import annotations

from morlaif_core import Component, Options, Sampler, Tuning, component, hookimpl


class TransformersSamplerOptions(Options):
    """How local responses are drawn."""

    batch_size: int = Tuning(64, ge=1, description="responses drawn at once; more is faster and takes more memory")


def build_sampler(options: TransformersSamplerOptions) -> Sampler:
    """Build the sampler; models are loaded at its first call."""
    from .sampler import TransformersSampler

    return TransformersSampler(options.batch_size)


@hookimpl
def morlaif_samplers() -> list[Component[Sampler]]:
    """Offer the sampler."""
    return [
        component(
            "transformers", build_sampler, TransformersSamplerOptions, "samples from a local model, batched by length"
        )
    ]
