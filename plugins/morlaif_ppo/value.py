"""The value head: what the rest of a response is expected to earn, from the policy's own hidden states.

Leaves out: a network of its own, because a head does at these sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Module):  # type: ignore[misc]
    """Hidden states (n, t, h) -> values (n, t) float32, or (n, t, outputs) where there are several.

    Starts at 0 everywhere: the first targets are the returns.
    """

    def __init__(self, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return the value of the state before each token is drawn."""
        # In float32: bfloat16 would round values to three digits, and advantages are differences of them.
        with torch.autocast(states.device.type, enabled=False):
            values: Tensor = self.out(torch.tanh(self.hidden(states.float())))
        return values.squeeze(-1) if self.out.out_features == 1 else values
