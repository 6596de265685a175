"""Proximal policy optimisation for language models, our own: offers the policy trainer `ppo`."""

from __future__ import annotations

from morlaif_core import Component, Need, PolicyTrainer, component, hookimpl

from .options import PPOOptions, goes_on


def build(options: PPOOptions) -> PolicyTrainer:
    """Return the trainer; torch is imported here and not when the plugin loads."""
    from .trainer import PPO

    return PPO(options)


def supplies(options: PPOOptions) -> frozenset[Need]:
    """Return what a step's reward can rest on: groups, where a prompt is answered more than once."""
    return frozenset({"groups"} if options.responses_per_prompt > 1 else ())


def needs(options: PPOOptions) -> frozenset[Need]:
    """Return what the reward must be: linear, where advantages by principle are to add up to its own."""
    return frozenset({"linear"} if options.value_heads == "principles" else ())


@hookimpl
def morlaif_policy_trainers() -> list[Component[PolicyTrainer]]:
    """Offer `ppo`."""
    summary = "PPO with a value head or a leave-one-out baseline; full and LoRA policies; exact resume"
    return [component("ppo", build, PPOOptions, summary, needs_for=needs, supplies_for=supplies, goes_on=goes_on)]
