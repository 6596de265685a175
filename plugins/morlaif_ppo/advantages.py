"""From a reward per response to an advantage per token: KL penalty, GAE, leave-one-out, whitening.

Notation: n episodes, t response tokens (padded on the right). Tensors are (n, t) float32; ``mask`` is bool, True on
kept tokens. Results are 0 on padding, and whatever lies there in the arguments changes nothing. Rewards and values may
have an axis more, (n, t, c): one of each of c parts of the reward.

Leaves out: division by a group's deviation (GRPO), because advantages are whitened over the step; and a KL term in the
loss, because the penalty is part of the reward.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_kl(logprobs: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Estimate KL(policy, reference) of each response in nats, (n,): sum over tokens of log p - log q.

    The k1 estimator of Schulman, "Approximating KL divergence" (2020): unbiased, and negative for some responses.
    """
    # Filled, not multiplied by the mask: a NaN on padding would survive the product.
    return (logprobs - reference).masked_fill(~mask, 0.0).sum(dim=1)


def token_rewards(rewards: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, kl: float) -> Tensor:
    """Spread rewards (n,) over tokens: the KL penalty on each, the response's reward on its last kept token.

    r_t = -kl (log p_t - log q_t) + [t is last] r, eq. 2 of Ziegler et al., arXiv 1909.08593.
    """
    out = (-kl * (logprobs - reference)).masked_fill(~mask, 0.0)
    # No response is empty, since the token that ended it is kept.
    last = mask.sum(dim=1) - 1
    return out.scatter_add(1, last[:, None], rewards[:, None].to(out.dtype))


def wide(mask: Tensor, values: Tensor) -> Tensor:
    """Return the mask in a shape that fits values (n, t) or (n, t, c)."""
    return mask if values.dim() == mask.dim() else mask[..., None]


def part_rewards(parts: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, kl: float) -> Tensor:
    """Spread the parts (n, c) of each reward over tokens, (n, t, c): the last part bears the KL penalty."""
    # The penalty is paid once, in the last part, or the parts would not add up to the reward.
    nothing = torch.zeros_like(logprobs)
    scores = [token_rewards(part, nothing, nothing, mask, 0.0) for part in parts[:, :-1].unbind(dim=1)]
    return torch.stack([*scores, token_rewards(parts[:, -1], logprobs, reference, mask, kl)], dim=2)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return advantages and returns, both (n, t), or (n, t, c) for c parts, each by itself.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lam A_{t+1} (Schulman et al., arXiv 1506.02438, eq. 16),
    with V = 0 after the last kept token: the episode ends there, whether by eos, at a human turn or at the length
    limit. Returns, the value head's targets, are A + V.
    """
    padding = ~wide(mask, values)
    rewards, values = rewards.masked_fill(padding, 0.0), values.masked_fill(padding, 0.0)
    advantages = values.new_zeros(values.shape)
    running, following = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        # On padding all three are 0, so the recursion starts afresh at each row's last kept token.
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        advantages[:, t], following = running, values[:, t]
    return advantages, advantages + values


def leave_one_out(totals: Tensor, groups: Tensor) -> Tensor:
    """Return R_i - mean of R_j over the other responses to the same prompt, (n,).

    ``groups`` (n,) int64 numbers the prompts of ``totals`` (n,), whose responses stand next to each other (Kool et al.
    2019; Ahmadian et al., arXiv 2402.14740, eq. 8). Raises ValueError where a response has no other one.
    """
    count = torch.unique_consecutive(groups, return_counts=True)[1][:, None]
    if int(count.min()) < 2:
        raise ValueError("a response without another one to its prompt has no baseline")
    there = torch.arange(int(count.max()), device=totals.device) < count
    grouped = totals.new_zeros(there.shape)
    grouped[there] = totals
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (count - 1)
    return (grouped - others)[there]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over kept tokens, a scalar."""
    return values.masked_fill(~mask, 0.0).sum() / mask.sum()


def whiten(advantages: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and deviation 1 over kept tokens; a constant becomes 0."""
    centred = advantages - masked_mean(advantages, mask)
    deviation = masked_mean(centred.square(), mask).sqrt()
    # 1e-8 only keeps equal advantages from becoming 0 / 0.
    return (centred / (deviation + 1e-8)).masked_fill(~mask, 0.0)
