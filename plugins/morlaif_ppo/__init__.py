"""Proximal policy optimisation for language models, our own: offers the policy trainer `ppo`."""

from __future__ import annotations

from morlaif_core import Component, PolicyTrainer, component, hookimpl

from .options import PPOOptions


def build(options: PPOOptions) -> PolicyTrainer:
    """Return the trainer; torch is imported here and not when the plugin loads."""
    from .trainer import PPO

    return PPO(options)


@hookimpl
def morlaif_policy_trainers() -> list[Component[PolicyTrainer]]:
    """Offer `ppo`."""
    summary = "PPO with a value head or a leave-one-out baseline; full and LoRA policies; exact resume"
    return [component("ppo", build, PPOOptions, summary)]
