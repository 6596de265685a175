"""The value head: what the rest of a response is expected to earn, from the policy's own hidden states.

It reads the state before each token and the mean of the response's states up to there: what a reward pays for may lie many
tokens back, and a last layer's state says little but the next token (docs/log.md has both measured).
Leaves out: a network of its own, because a head does at these sizes; a fit to the first rollout before training, because
two steps at this head's learning rate do as much.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm


class ValueHead(nn.Module):  # type: ignore[misc]
    """Hidden states of responses (n, t, h) -> values (n, t) float32, or (n, t, outputs) where there are several.

    Starts at 0 everywhere: the first targets are the returns.
    """

    def __init__(self, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return the value of the state before each token is drawn; padding on the right changes no other value."""
        # In float32: bfloat16 would round values to three digits, and advantages are differences of them.
        with torch.autocast(states.device.type, enabled=False):
            states = states.float()
            counts = torch.arange(1, states.shape[1] + 1, device=states.device)[:, None]
            # Each to one size, or tanh would be blind where a model's states are large.
            parts = [layer_norm(part, part.shape[-1:]) for part in (states, states.cumsum(dim=1) / counts)]
            values: Tensor = self.out(torch.tanh(self.hidden(torch.cat(parts, dim=-1))))
        return values.squeeze(-1) if self.out.out_features == 1 else values
