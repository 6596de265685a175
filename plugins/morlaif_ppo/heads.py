"""A reward taken apart for a value function of several heads: one part a principle, and the rest.

Leaves out: rewards that are not linear in the scores within a step, because advantages of their parts would not add up.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morlaif_core import Explanation, Reward, RewardBatch, UserError

TOLERANCE = 1e-3
"""Of the reward's size: float32's rounding in the derivatives is far below, a curved reward far above."""


def columns_of(reward: Reward) -> tuple[str, ...]:
    """Return the names of the scalarizer's columns; no response is scored for it."""
    return reward.explain(reward((), ())).principles


def take_apart(scored: RewardBatch, explained: Explanation, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts (n, k + 1) of rewards (n,), and their weights (k + 1,): ``rewards = parts @ weights``.

    The first k parts are the scores of the scalarizer's columns; the last one, of weight 1, is what is left of the
    reward, the same for every response but for what ``rewards`` has beyond ``scored.rewards``.

    Args:
        scored: what the reward said of n responses.
        explained: its explanation, at the same step and state.
        rewards: (n,) float32, the rewards of ``scored`` less penalties.

    Raises:
        UserError: the reward is not linear in the scores, so that there are no such weights.
    """
    # In float64: what is left over is a small difference of large sums.
    scores = explained.scores.astype(np.float64)
    influence = explained.influence.astype(np.float64)
    # A linear reward has the same influence in every row; the mean takes out their rounding.
    weights = influence.mean(axis=0)
    explained_by_scores = scores @ weights
    left = scored.rewards.astype(np.float64) - explained_by_scores
    # 1 +, or scores near 0 would make a bound below rounding.
    size = 1 + float(np.abs(influence * scores).sum(axis=1).max())
    if np.ptp(left) > TOLERANCE * size:
        raise UserError(
            "value_heads: principles needs a reward that is a weighted sum of the scores within a step, and this one is "
            "not; set reward.utility: expected, scalarizer.use: weighted, or trainer.value_heads: one"
        )
    rest = rewards.double() - torch.as_tensor(explained_by_scores, device=rewards.device)
    parts = torch.cat([torch.as_tensor(scores, device=rewards.device), rest[:, None]], dim=1)
    return parts.float(), torch.tensor([*weights, 1.0], dtype=torch.float32, device=rewards.device)
