"""The two losses of PPO, as sums over kept tokens, so that a minibatch may be computed in parts.

Notation as in advantages.py: (n, t) float32, ``mask`` bool. Divide by the whole minibatch's kept tokens for the mean.

Leaves out: a mean by response first, so that each token counts alike; an entropy term, because the KL to the reference
does its work.
"""

from __future__ import annotations

from torch import Tensor

from .advantages import wide


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Return the clipped surrogate's sum (scalar) and the ratios (n, t), 1 on padding.

    -min(r A, clip(r, 1 - c, 1 + c) A) with r = exp(log p - log p_old): Schulman et al., arXiv 1707.06347, eq. 7.
    """
    # Masked before exp: an infinity that is multiplied by 0 afterwards would still make the gradient nan.
    ratio = (logprobs - old).masked_fill(~mask, 0.0).exp()
    advantages = advantages.masked_fill(~mask, 0.0)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -(ratio * advantages).minimum(clipped * advantages).sum(), ratio


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float | None) -> Tensor:
    """Return the sum of 0.5 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2), a scalar; clip None: unclipped.

    The clipped value loss of OpenAI's baselines ("The 37 implementation details of PPO", detail 9). Of values
    (n, t, c) it is the mean over the c heads, so that `value_coefficient` means the same for any number.
    """
    padding = ~wide(mask, values)
    values, old = values.masked_fill(padding, 0.0), old.masked_fill(padding, 0.0)
    returns = returns.masked_fill(padding, 0.0)
    error = (values - returns).square()
    if clip is not None:
        error = error.maximum((old + (values - old).clamp(-clip, clip) - returns).square())
    # The quotient is the number of heads: values have an axis more than the mask, or none.
    return 0.5 * error.sum() / (error.numel() // mask.numel())


def clip_fraction(ratio: Tensor, mask: Tensor, clip: float) -> float:
    """Share of kept tokens whose ratio lies outside the clip range, in [0, 1]."""
    return float((((ratio - 1).abs() > clip) & mask).sum() / mask.sum())


def approximate_kl(ratio: Tensor, mask: Tensor) -> float:
    """Mean over kept tokens of r - 1 - log r, nats a token: how far this step's updates moved the policy.

    The k3 estimator of Schulman, "Approximating KL divergence" (2020): never negative.
    """
    return float(((ratio.detach() - 1 - ratio.detach().log()) * mask).sum() / mask.sum())


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(R - V) / Var(R) over kept tokens, at most 1; 0 where the returns do not vary."""
    kept, target = values[mask], returns[mask]
    spread = float(target.var(unbiased=False))
    return 1.0 - float((target - kept).var(unbiased=False)) / spread if spread > 1e-12 else 0.0
