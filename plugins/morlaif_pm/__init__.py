"""Preference models: offers the backends `full`, `lora` (K adapters), `heads` (one backbone), `probe` (frozen base) and
`pretrained` (a reward model that is there)."""

from __future__ import annotations

from collections.abc import Iterable

from morlaif_core import Component, PMBackend, component, hookimpl

from .options import FullOptions, HeadsOptions, LoraOptions, PretrainedOptions, ProbeOptions


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


def build_pretrained(options: PretrainedOptions) -> PMBackend:
    """Return the backend; torch is imported when it loads."""
    from .pretrained import PretrainedBackend

    return PretrainedBackend(options)


def _missing(options: PretrainedOptions) -> Iterable[str]:
    from .pretrained import missing

    return missing(options)


@hookimpl
def morlaif_pm_backends() -> list[Component[PMBackend]]:
    """Offer `full`, `lora`, `heads`, `probe` and `pretrained`."""
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
        component(
            "pretrained",
            build_pretrained,
            PretrainedOptions,
            "a reward model or classifier that is there: nothing is judged or trained",
            missing=_missing,
            learns=False,
        ),
    ]
