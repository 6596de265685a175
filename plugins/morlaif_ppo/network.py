"""Policy and reference as functions of a `Batch`: hidden states and log-probabilities of the response's tokens.

Only response positions reach the language-model head, and its vocabulary-wide logits exist a chunk at a time: at 49,152
words a step of 32 x 128 tokens would otherwise hold 0.8 GB of them, and as much again for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from morlaif_core import Backbone, UserError, causal_lm, lm_logits, positions, run_bottom, run_top

from .batch import Batch

CHUNK = 2**26
"""Logits held at a time (256 MiB in float32): 16 x 80 tokens of 49,152 words need no second computation."""


@dataclass(frozen=True, eq=False)
class Network:
    """What is trained, and what it is held to.

    A LoRA policy is one backbone with the adapter on, its reference the same one with the adapter off. A full policy
    is a copy of its own, its reference the shared frozen model.
    """

    policy: Backbone
    reference: Backbone
    adapter: str | None
    start: int | None
    """first adapted block: what lies below runs once a step; None: every pass runs the whole model"""
    temperature: float
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def device(self) -> Any:
        """Where the policy's tensors are."""
        return self.policy.model.device

    @property
    def float32(self) -> bool:
        """Whether the passes are in float32: in coarser numbers two passes over a text differ by rounding."""
        return self.autocast is nullcontext and self.policy.model.dtype == torch.float32

    @contextmanager
    def acting(self, *, grad: bool = False) -> Iterator[Any]:
        """Yield the policy's model, dropout off; with grad, its trained weights collect gradients."""
        with self.policy.use(self.adapter, grad=grad, train=False) as model, self._mode(grad):
            yield model

    @contextmanager
    def frozen(self) -> Iterator[Any]:
        """Yield the reference's model, without gradient."""
        with self.reference.use(None, grad=False, train=False) as model, self._mode(False):
            yield model

    @contextmanager
    def _mode(self, grad: bool) -> Iterator[None]:
        with torch.set_grad_enabled(grad), self.autocast():
            yield

    def with_trunk(self, batch: Batch, size: int) -> Batch:
        """Return the batch with the states below the first adapted block, if there is one; run once for all passes."""
        if self.start is None:
            return batch
        trunk: Tensor | None = None
        # Below the first adapted block policy and reference are one, so their pass is the reference's.
        with self.frozen() as model:
            for rows in batch.parts(size):
                # Not cut by `take`: the states of all rows go into one tensor of the batch's width.
                states = run_bottom(model, batch.ids[rows], batch.attention[rows], self.start)
                trunk = states.new_zeros((len(batch.ids), *states.shape[1:])) if trunk is None else trunk
                trunk[rows] = states
        return replace(batch, trunk=trunk)

    def reference_logprobs(self, batch: Batch, size: int) -> Tensor:
        """Return the reference's log-probabilities (n, t) of the response's tokens, at the sampling temperature."""
        out = torch.zeros(batch.mask.shape, device=self.device)
        with self.frozen() as model:
            for rows in batch.parts(size):
                part = batch.take(rows)
                out[rows, : part.mask.shape[1]] = self.logprobs(model, self.states(model, part), part)
        return out

    def states(self, model: Any, batch: Batch) -> Tensor:
        """Return the states (b, t, h) that the head reads to predict each response token: one position earlier."""
        if batch.trunk is None:
            # The body alone: the model's own forward would make logits of prompts and padding too.
            body = _body(causal_lm(model))
            # Counted over real tokens: left padding must not move a prompt's positions.
            places = positions(batch.attention)
            hidden = body(batch.ids, attention_mask=batch.attention, position_ids=places, use_cache=False)[0]
        else:
            hidden = run_top(model, batch.trunk, batch.attention, self.start or 0, last_hidden=True)
        before: Tensor = hidden[:, batch.prompt_width - 1 : -1]
        return before

    def logprobs(self, model: Any, states: Tensor, batch: Batch) -> Tensor:
        """Return log-probabilities (b, t) of the response's tokens at the sampling temperature, 0 on padding."""
        words = causal_lm(model).get_output_embeddings().weight.shape[0]
        head = partial(lm_logits, model)
        flat = token_logprobs(head, states[batch.mask], batch.responses[batch.mask], self.temperature, words)
        return flat.new_zeros(batch.mask.shape).masked_scatter(batch.mask, flat)


def token_logprobs(head: Any, states: Tensor, tokens: Tensor, temperature: float, words: int) -> Tensor:
    """Return log softmax(head(states) / temperature)[tokens], (m,) float32, for states (m, h) and tokens (m,).

    words: logits of a state. Several chunks are computed again in the backward pass instead of being kept.
    """

    def chunk(some: Tensor, chosen: Tensor) -> Tensor:
        logits = head(some).float() / temperature
        picked: Tensor = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(dim=1)
        return picked

    size = max(1, CHUNK // words)
    if len(states) <= size:
        return chunk(states, tokens)
    pairs = zip(states.split(size), tokens.split(size), strict=True)
    # Nothing in a head draws numbers, so no random state has to be kept for the second computation.
    again = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(chunk, some, chosen, **again) for some, chosen in pairs])


def _body(core: Any) -> Any:
    """Return the model without its head."""
    # Llama 4's text model names another place than where it is.
    return getattr(core, core.base_model_prefix if hasattr(core, core.base_model_prefix) else "model")


@torch.no_grad()  # type: ignore[untyped-decorator]
def check_head(model: Any) -> None:
    """Raise `UserError` where `lm_logits` of the model's last states are not its logits.

    The states are enlarged on their way into the head, to logits of up to 100: there a soft cap shows, however weak.
    """
    core = causal_lm(model)
    words = core.config.get_text_config().vocab_size
    ids = torch.arange(1, 9, device=core.device)[None] * words // 9
    body = _body(core)(ids, use_cache=False)[0]
    larger = body * (100 / core.get_output_embeddings()(body).abs().max().clamp(min=1e-3))
    read = []

    def enlarge(head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        read.append(inputs[0])
        return (larger,)

    hook = core.get_output_embeddings().register_forward_pre_hook(enlarge)
    try:
        logits = core(ids, use_cache=False).logits
    finally:
        hook.remove()
    pairs = [(read[0], body), (logits, lm_logits(core, larger))]
    if not all(torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-3 * float(b.abs().max())) for a, b in pairs):
        raise UserError(
            f"models of the family '{core.config.model_type}' change their logits after the head in a way that ppo does "
            "not follow; use a model of another family (GPT-2, Llama, Mistral, Qwen, Gemma, Granite, Cohere)"
        )
