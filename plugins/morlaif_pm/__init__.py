"""Preference models: offers the backends `full`, `lora` (K adapters), `heads` (one backbone) and `probe` (frozen base)."""

from __future__ import annotations

from morlaif_core import Component, PMBackend, component, hookimpl

from .options import FullOptions, HeadsOptions, LoraOptions, ProbeOptions


def build_full(options: FullOptions) -> PMBackend:
    """Return the backend; torch is imported when it trains or loads."""
    from .full import FullBackend

    return FullBackend(options)


def build_lora(options: LoraOptions) -> PMBackend:
    """Return the backend; torch and peft are imported when it trains or loads."""
    from .lora import LoraBackend

    return LoraBackend(options)


def build_heads(options: HeadsOptions) -> PMBackend:
    """Return the backend; torch and peft are imported when it trains or loads."""
    from .heads import HeadsBackend

    return HeadsBackend(options)


def build_probe(options: ProbeOptions) -> PMBackend:
    """Return the backend; torch and scipy are imported when it trains or loads."""
    from .probe import ProbeBackend

    return ProbeBackend(options)


@hookimpl
def morlaif_pm_backends() -> list[Component[PMBackend]]:
    """Offer `full`, `lora`, `heads` and `probe`."""
    return [
        component(
            "full", build_full, FullOptions, "fine-tunes a whole model per principle (TRL's RewardTrainer, soft labels)"
        ),
        component("lora", build_lora, LoraOptions, "one base model, a LoRA adapter and head per principle"),
        component(
            "heads", build_heads, HeadsOptions, "one backbone for all principles, trained together, a head for each"
        ),
        component(
            "probe", build_probe, ProbeOptions, "frozen base run once, a linear head per principle, fitted in seconds"
        ),
    ]
