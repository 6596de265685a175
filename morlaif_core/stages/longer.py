"""A training of which more is wanted goes on from its last checkpoint, where its trainer says that this is exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morlaif_core.config.config import Config
from morlaif_core.errors import UserError
from morlaif_core.runs.named import own_config
from morlaif_core.types import content_hash

from .context import Context

TRAINER = "trainer"


def goes_on(context: Context, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether what train-policy made of the old inputs is the beginning of what it makes of the new ones.

    old, new: its fingerprints. Where only the trainer's options differ and it is not, says why.
    """
    before = _config_of(context, old)
    if {key for key in {*old, *new} if old.get(key) != new.get(key)} != {TRAINER} or before is None:
        return False
    block, now = before.block(TRAINER), context.config.block(TRAINER)
    component = context.plugins.find("policy_trainer", now["use"])
    if block["use"] != now["use"] or component.goes_on is None:
        return False
    reason = component.goes_on(*(context.plugins.options("policy_trainer", each) for each in (block, now)))
    if reason is None:
        context.screen.say("train-policy goes on from its last checkpoint")
    elif reason:
        context.screen.say(f"train-policy begins anew: {reason}")
    return reason is None


def _config_of(context: Context, inputs: Mapping[str, Any]) -> Config | None:
    """What run.yaml says, where these inputs were read of it: fingerprints are hashes, and do not say what was set."""
    try:
        config = own_config(context.path, checked=False)
        read = Context(config, context.folder, context.screen).read(TRAINER)
    except UserError:
        return None
    return config if content_hash(read[TRAINER]) == inputs.get(TRAINER) else None
