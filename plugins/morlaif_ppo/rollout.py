"""Sampling episodes: which prompts a step takes, what the policy answers, and what comes of it as tensors.

Leaves out: top-k, top-p and penalties, a hub model's own too, because log-probabilities would not be those of what was
drawn; and episodes of earlier steps, because each step is of the policy that it updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from morlaif_core import Generation, Prompt, Target, UserError, content_hash, decode, prompt_ids, stop_strings

from .batch import Batch, pad, pad_floats
from .network import Network


@dataclass(frozen=True, eq=False)
class Rollout:
    """n episodes; the responses to one prompt stand next to each other."""

    prompts: tuple[Prompt, ...]
    texts: tuple[str, ...]
    ended: Tensor
    """(n,) bool: by eos or at the next human turn, not by length"""
    batch: Batch
    logprobs: Tensor
    """(n, t) float32, recorded while sampling, at the sampling temperature; 0 on padding"""

    def take(self, rows: Tensor) -> Rollout:
        """Return these episodes, by number (m,)."""
        prompts, texts = (tuple(part[row] for row in rows.tolist()) for part in (self.prompts, self.texts))
        batch = self.batch.take(rows)
        return Rollout(prompts, texts, self.ended[rows], batch, self.logprobs[rows, : batch.mask.shape[1]])


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2^63) that depends on the parts alone."""
    return int(content_hash("ppo", *parts), 16) >> 1


def prompts_of_step(prompts: Sequence[Prompt], step: int, count: int, seed: int) -> list[Prompt]:
    """Return the prompts of a step (from 0): the next ``count`` of an endless row of shuffled passes.

    No prompt comes twice in a pass. A function of its arguments, so that a resumed run goes on at the same place.
    """
    if not prompts:
        raise UserError("there are no prompts to train on; raise prompts.rl or use a larger data set")
    chosen, places = [], range(step * count, (step + 1) * count)
    orders: dict[int, Any] = {}
    for place in places:
        turn, index = divmod(place, len(prompts))
        if turn not in orders:
            orders[turn] = np.random.default_rng(seed_of("order", seed, turn)).permutation(len(prompts))
        chosen.append(prompts[int(orders[turn][index])])
    return chosen


def sample(
    network: Network,
    target: Target,
    prompts: Sequence[Prompt],
    generation: Generation,
    *,
    n: int,
    seed: int,
    batch: int | None = None,
    states: bool = False,
) -> Rollout:
    """Let the policy answer each prompt n times; states: keep what its head reads, for values without another pass.

    Tokens end with the one that ended the response (eos, or the last of the next human turn's mark): it was the
    policy's choice to stop there. The text, which the reward reads, has neither.
    """
    tokenizer = network.policy.tokenizer
    ids = [prompt_ids(tokenizer, prompt, target.template, target.chat_template_kwargs) for prompt in prompts]
    with network.acting() as model:
        # The core's own loop, faster than `generate`: a prompt's answers share its prefill. It also records the
        # log-probabilities of the training pass, up to rounding, which saves that pass.
        answers = decode(
            model,
            tokenizer,
            ids,
            n=n,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            stop=stop_strings(generation, tokenizer, target.template),
            seed=seed,
            batch=batch,
            states=states,
        )
    flat = [answer for group in answers for answer in group]
    padded = pad(
        [head for head in ids for _ in range(n)], [a.ids for a in flat], tokenizer.pad_token_id, network.device
    )
    if states:
        padded = replace(padded, states=pad_sequence([answer.states for answer in flat], batch_first=True))
    return Rollout(
        prompts=tuple(prompt for prompt in prompts for _ in range(n)),
        texts=tuple(answer.text for answer in flat),
        ended=torch.tensor([answer.ended for answer in flat], device=network.device),
        batch=padded,
        logprobs=pad_floats([answer.logprobs for answer in flat], network.device),
    )
