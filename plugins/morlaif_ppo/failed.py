"""Responses whose score failed: they are taken out of a step before anything is learnt from it.

Leaves out: a number in place of the reward that is missing, because it would move the baseline of the others.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morlaif_core import RewardBatch, UserError

from .options import PPOOptions
from .rollout import Rollout

MOST_FAILED = 0.5
"""Share of a step's responses: beyond it, what is left is another sample than the policy's."""


def without_failed(
    rollout: Rollout, scored: RewardBatch, options: PPOOptions
) -> tuple[Rollout, RewardBatch, Tensor, float]:
    """Return a step's episodes and rewards without those that failed, the prompt's number of each, and the share failed.

    A response whose peers all failed is left out too where they are its baseline. Raises `UserError` where more than half
    of the responses failed, or none is left.
    """
    rewards = np.asarray(scored.rewards)
    groups = np.arange(len(rewards)) // options.responses_per_prompt
    failed = np.isnan(rewards)
    kept, share = ~failed, float(failed.mean())
    if not options.uses_value:
        kept &= np.bincount(groups, weights=kept)[groups] > 1
    if share > MOST_FAILED or not kept.any():
        raise UserError(
            f"{failed.sum()} of {len(failed)} responses of a step have no score, which is too many to learn from; see why "
            "the preference models give NaN, then run the same command"
        )
    if not kept.all():
        rows = np.flatnonzero(kept)
        rollout, scored = rollout.take(torch.as_tensor(rows, device=rollout.ended.device)), scored.take(rows)
    return rollout, scored, torch.as_tensor(groups[kept], device=rollout.ended.device), share
