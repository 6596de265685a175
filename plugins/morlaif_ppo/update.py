"""The update of a step: targets from rewards, then epochs of minibatches over the clipped losses.

Leaves out: fresh advantages and old values in later epochs: those of before the update stand for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from morlaif_core import UserError

from .advantages import gae, leave_one_out, part_rewards, sequence_kl, token_rewards, whiten, wide
from .batch import Batch
from .losses import approximate_kl, clip_fraction, explained_variance, policy_loss, value_loss
from .options import PPOOptions
from .rollout import seed_of
from .state import Training

RATIO_ERROR, RATIO_ERROR_ROUNDED = 0.05, 0.3
"""Distances of the first ratio from 1 that rounding does not explain, in float32 and in coarser numbers."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What an update needs of its episodes: (n, t) float32, 0 on padding; c value heads: (n, t, c)."""

    batch: Batch
    logprobs: Tensor
    """of the policy that sampled"""
    advantages: Tensor
    values: Tensor
    """of the value head before the update, (n, t) or (n, t, c); 0 without one"""
    returns: Tensor
    """what the value head is to say, in the shape of `values`"""
    weights: Tensor | None = None
    """(c,) of several value heads in the advantages; None: there is one head, or none"""

    def take(self, rows: Tensor) -> Targets:
        """Return these episodes, cut as `Batch.take` cuts them."""
        batch = self.batch.take(rows)
        width = batch.mask.shape[1]
        numbers = (self.logprobs, self.advantages, self.values, self.returns)
        logprobs, advantages, values, returns = (number[rows, :width] for number in numbers)
        return Targets(batch, logprobs, advantages, values, returns, self.weights)


def before_update(training: Training, batch: Batch, recorded: Tensor, options: PPOOptions) -> tuple[Tensor, Tensor]:
    """Return the sampling policy's log-probabilities (n, t) and the old values; by a pass where one is needed."""
    network, head = training.network, training.head
    heads = (len(training.columns) + 1,) if training.columns else ()
    logprobs, values = recorded, recorded.new_zeros((*recorded.shape, *heads))
    recompute = training.recompute_logprobs
    # In float32 the rollout has recorded all that is needed.
    if not recompute and (head is None or batch.states is not None):
        if head is not None:
            with torch.no_grad():
                found = head(batch.states)
            values = found.masked_fill(~wide(batch.mask, found), 0.0)
        return logprobs, values
    logprobs = torch.zeros_like(recorded) if recompute else recorded
    with network.acting() as model:
        for rows in batch.parts(options.batch):
            part = batch.take(rows)
            states, width = network.states(model, part), part.mask.shape[1]
            if head is not None:
                found = head(states)
                values[rows, :width] = found.masked_fill(~wide(part.mask, found), 0.0)
            if recompute:
                logprobs[rows, :width] = network.logprobs(model, states, part)
    return logprobs, values


def targets(
    training: Training,
    batch: Batch,
    recorded: Tensor,
    reference: Tensor,
    rewards: Tensor,
    options: PPOOptions,
    weights: Tensor | None = None,
    *,
    groups: Tensor | None = None,
) -> Targets:
    """Turn rewards (n,) into advantages per token: by value head and GAE, or by the other responses to the prompt.

    ``groups`` (n,) int64: which prompt each response is to; None: ``responses_per_prompt`` to each, one after the other.

    With ``weights`` (c,), rewards are the parts (n, c) of `heads.take_apart`: GAE for each by its own head, then
    ``A = sum_c weights_c A_c``, the advantage of the whole reward under the value ``sum_c weights_c V_c``: GAE is linear.
    """
    logprobs, values = before_update(training, batch, recorded, options)
    if weights is not None:
        spread = part_rewards(rewards, logprobs, reference, batch.mask, training.kl)
        by_part, returns = gae(spread, values, batch.mask, options.gamma, options.lam)
        advantages = by_part @ weights
    elif options.uses_value:
        spread = token_rewards(rewards, logprobs, reference, batch.mask, training.kl)
        advantages, returns = gae(spread, values, batch.mask, options.gamma, options.lam)
    else:
        totals = rewards - training.kl * sequence_kl(logprobs, reference, batch.mask)
        if groups is None:
            groups = torch.arange(len(totals), device=totals.device) // options.responses_per_prompt
        advantages = leave_one_out(totals, groups)[:, None] * batch.mask
        returns = torch.zeros_like(values)
    if options.whiten:
        # After the heads' advantages are added: whitened one by one, they would lose their weights.
        advantages = whiten(advantages, batch.mask)
    # Nobody reads the states again; minibatches would copy them.
    return Targets(replace(batch, states=None), logprobs, advantages, values, returns, weights)


def update(training: Training, given: Targets, options: PPOOptions, seed: int) -> dict[str, float]:
    """Run the step's epochs; returns means over its minibatches, and the first ratio's largest distance from 1.

    Raises `UserError` where a gradient is not finite, and in the first step where the first ratio is not 1.
    """
    sums: dict[str, float] = {}
    batches = list(minibatches(len(given.batch.ids), options, seed))
    first = 0.0
    for index, rows in enumerate(batches):
        found = _minibatch(training, given.take(rows), options)
        farthest = found.pop("farthest")
        if index == 0:
            first = farthest
            # The first step alone: what a model does not give the same twice, it does not from the start.
            if training.step == 0:
                check_first_ratio(training, given.take(rows), first)
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value / len(batches)
    # Once a step, since the schedule counts steps and not minibatches.
    training.scheduler.step()
    sums["first_ratio_error"] = first
    if training.head is not None:
        sums |= explained(given, training.columns)
    return sums


def check_first_ratio(training: Training, given: Targets, error: float) -> None:
    """Raise `UserError` where a training's very first ratio is too far from 1: every gradient after it would be wrong."""
    network = training.network
    limit = RATIO_ERROR if network.float32 else RATIO_ERROR_ROUNDED
    if error <= limit:
        return
    with network.acting() as model:
        pair = [network.logprobs(model, network.states(model, given.batch), given.batch) for _ in range(2)]
    if float((pair[0] - pair[1]).abs().max()) > limit:
        what = (
            "two equal passes give other log-probabilities: some layer draws random numbers (dropout, a noisy router)"
        )
        advice = "switch that off in the model's config.json, or use another model"
    elif training.recompute_logprobs:
        what = "a pass over other rows in the batch gives a token another log-probability: rows act on each other"
        advice = "set trainer.dtype: float32, or use another model"
    else:
        what = "sampling token by token and one pass over the whole text give a token different log-probabilities"
        advice = "set trainer.old_logprobs: auto and target.dtype: float32, or use a model of another family"
    raise UserError(
        f"step 1: the ratio of new to old probability is off by {error:.2g} before anything is trained (at most {limit} "
        f"is rounding): {what}; {advice}"
    )


def explained(given: Targets, columns: tuple[str, ...]) -> dict[str, float]:
    """Return the share of the returns' variance that the value head explains, of the sum and of each part."""
    values, returns, mask = given.values, given.returns, given.batch.mask
    if given.weights is None:
        return {"explained_variance": explained_variance(values, returns, mask)}
    names = [f"explained_variance/{name}" for name in columns]
    parts = enumerate([*names, "explained_variance_rest"])
    found = {name: explained_variance(values[..., place], returns[..., place], mask) for place, name in parts}
    whole = explained_variance(values @ given.weights, returns @ given.weights, mask)
    return {"explained_variance": whole, **found}


def minibatches(episodes: int, options: PPOOptions, seed: int) -> Iterator[Tensor]:
    """Yield the episodes of each optimizer step: every epoch is a shuffled pass."""
    for epoch in range(options.epochs):
        # A CPU generator of its own: the same order on every device, and nothing drawn from the global one.
        generator = torch.Generator().manual_seed(seed_of("minibatches", seed, epoch))
        yield from torch.randperm(episodes, generator=generator).split(options.minibatch)


def _minibatch(training: Training, given: Targets, options: PPOOptions) -> dict[str, float]:
    """Take one optimizer step, in ``accumulation`` parts whose gradients add up to the minibatch's."""
    # Of the minibatch, not of a part: parts of unlike length add up to the same mean.
    tokens = given.batch.mask.sum()
    ratios = torch.ones_like(given.logprobs)
    losses = torch.zeros(2, device=given.logprobs.device)
    training.optimizer.zero_grad(set_to_none=True)
    size = -(-len(ratios) // options.accumulation)
    for rows in given.batch.parts(size) if options.accumulation > 1 else [torch.arange(len(ratios))]:
        part = given.take(rows)
        # Entered anew for each part: autocast keeps rounded copies of weights, stale after an optimizer step.
        with training.network.acting(grad=True) as model:
            loss, ratio, pair = _losses(training, model, part, options)
            (loss / tokens).backward()
        ratios[rows, : ratio.shape[1]] = ratio.detach()
        losses += pair
    # Apart: a value head that is far off would take the policy's gradient down with its own.
    groups = [group["params"] for group in training.optimizer.param_groups]
    norms = torch.stack([torch.nn.utils.clip_grad_norm_(group, options.max_grad_norm) for group in groups])
    if not norms.isfinite().all():
        # Before the step, so that no checkpoint is ever written of weights that it ruined.
        raise UserError(f"step {training.step + 1}: the gradient is not finite; lower trainer.learning_rate")
    training.optimizer.step()
    mask = given.batch.mask
    found = {
        "policy_loss": float(losses[0] / tokens),
        "clip_fraction": clip_fraction(ratios, mask, options.clip),
        "approximate_kl": approximate_kl(ratios, mask),
        "gradient_norm": float(norms[0]),
        "farthest": float((ratios - 1).abs().max()),
    }
    if training.head is None:
        return found
    return found | {"value_loss": float(losses[1] / tokens), "value_gradient_norm": float(norms[1])}


def _losses(training: Training, model: object, part: Targets, options: PPOOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss to minimise (a sum over tokens), the ratios (b, t), and both losses' sums (2,)."""
    network, mask = training.network, part.batch.mask
    states = network.states(model, part.batch)
    logprobs = network.logprobs(model, states, part.batch)
    loss, ratio = policy_loss(logprobs, part.logprobs, part.advantages, mask, options.clip)
    if training.head is None:
        return loss, ratio, torch.stack([loss.detach(), torch.zeros_like(loss)])
    wrong = value_loss(training.head(states), part.values, part.returns, mask, options.value_clip)
    total = loss + options.value_coefficient * wrong
    return total, ratio, torch.stack([loss.detach(), wrong.detach()])
