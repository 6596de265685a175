"""What training holds in memory, and how it is made: network, value head, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from morlaif_core import Backbone, PolicyJob, Target, UserError, layer_count, lora_config, no_progress_bars

from .heads import columns_of
from .network import Network, check_head
from .options import PPOOptions
from .value import ValueHead

ADAPTER = "policy"


@dataclass(eq=False)
class Training:
    """The moving parts; all of them are in a checkpoint."""

    network: Network
    head: ValueHead | None
    optimizer: Any
    scheduler: Any
    recompute_logprobs: bool
    kl: float
    """the penalty's coefficient now: the guard may have raised it"""
    columns: tuple[str, ...] = ()
    """what the value heads but the last one stand for, where there is one for each principle"""
    step: int = 0
    """steps done"""
    stopped: str = ""
    """why training ended before its last step; empty while it goes on"""


def build(job: PolicyJob, options: PPOOptions, weights: Path | None) -> Training:
    """Load models and make what is trained; ``weights``: the checkpoint's folder of policy weights, None: the target's.

    Raises `UserError` for a full policy on quantised weights and for models that ppo cannot follow.
    """
    full = job.target.lora is None
    columns = columns_of(job.reward) if options.value_heads == "principles" else ()
    network = (_full if full else _lora)(job, options, weights)
    check_head(network.policy.model)
    # After loading, which may draw numbers: the value head is the same in every run of a seed.
    _seed(job.seed)
    with network.acting(grad=True) as model:
        # Inside `acting`, as an adapter's weights ask for gradients only there.
        trained = [weight for weight in model.parameters() if weight.requires_grad]
    width = network.policy.model.config.get_text_config().hidden_size
    head = ValueHead(width, len(columns) + 1 if columns else 1) if options.uses_value else None
    groups: list[dict[str, Any]] = [{"params": trained, "lr": options.learning_rate}]
    if head is not None:
        head.to(network.device)
        groups.append({"params": list(head.parameters()), "lr": options.value_learning_rate})
    # eps as in "The 37 implementation details of PPO", detail 3: Adam's default blows up gradients near 0.
    optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate_factor, options=options))
    return Training(network, head, optimizer, scheduler, _recomputes(network, options), options.kl, columns)


def learning_rate_factor(step: int, *, options: PPOOptions) -> float:
    """Return what learning rates are multiplied by at a step (from 0), in (0, 1] within training."""
    rising = min(1.0, (step + 1) / (options.warmup + 1))
    return rising * (1 - step / options.steps if options.schedule == "linear" else 1.0)


def _seed(seed: int) -> None:
    """Seed the global generators: the adapter's and the value head's first weights come from torch's."""
    import random

    import numpy as np

    random.seed(seed)
    # numpy's generator takes 32 bits.
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _full(job: PolicyJob, options: PPOOptions, weights: Path | None) -> Network:
    """A copy of its own, in float32 (an update of 1e-5 vanishes in bfloat16), and the shared frozen reference."""
    if job.target.quantize is not None:
        raise UserError("quantised weights cannot be trained; set target.lora, or target.quantize: null")
    source = job.target
    if weights is not None:
        # Not in the target's dtype: rounded on loading, small updates would be lost at every checkpoint.
        source = job.target.model_copy(update={"model": str(weights), "revision": None, "dtype": "float32"})
    policy = job.backbones.get(source, own=True)
    policy.model.float()
    for weight in policy.model.parameters():
        # Out of the mapped file into memory of the allocator's alignment, on which the last digits of sums depend: or
        # a run that goes on from a checkpoint's file would differ from one that began with the target's.
        weight.data = weight.data.clone()
    return Network(
        policy, job.backbones.get(job.target), None, None, job.generation.temperature, _autocast(policy, options)
    )


def _lora(job: PolicyJob, options: PPOOptions, weights: Path | None) -> Network:
    """One base: the policy is its adapter, the reference is the base alone."""
    lora = job.target.lora
    # For the type checker: `build` comes here with a LoRA alone.
    assert lora is not None
    base = job.backbones.get(job.target)
    # After loading, which may draw numbers or, with the model in memory, not.
    _seed(job.seed)
    # Also before weights are loaded: an adapter that was trained on meanwhile must not pass for the folder's.
    base.add(ADAPTER, lora_config(base.model, lora))
    if weights is not None:
        base.load(ADAPTER, weights)
    start = None if lora.top_layers is None else layer_count(base.model) - lora.top_layers
    return Network(base, base, ADAPTER, start, job.generation.temperature, _autocast(base, options))


def _autocast(backbone: Backbone, options: PPOOptions) -> Callable[[], AbstractContextManager[Any]]:
    device = backbone.model.device.type
    if options.dtype == "float32" or (options.dtype == "auto" and device == "cpu"):
        return nullcontext
    return partial(torch.autocast, device, dtype=torch.bfloat16)


def _recomputes(network: Network, options: PPOOptions) -> bool:
    """Say whether recorded log-probabilities are too coarse to be the ratio's denominator."""
    if options.old_logprobs != "auto":
        return options.old_logprobs == "recomputed"
    # In bfloat16 the rounding of two passes moves the ratio away from 1 before anything is trained.
    return not network.float32


def save_policy(network: Network, target: Target, folder: Path) -> None:
    """Write the policy into a folder: an adapter for peft, or a model and its tokenizer for transformers."""
    if network.adapter is not None:
        network.policy.save(network.adapter, folder)
    else:
        with no_progress_bars():  # of one shard, at every checkpoint
            network.policy.model.save_pretrained(folder)
    network.policy.tokenizer.save_pretrained(folder)
