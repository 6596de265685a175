"""Episodes as tensors: prompts padded on the left, responses on the right, so that all responses start in one column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """n episodes of at most p prompt and t response tokens."""

    ids: Tensor
    """(n, p + t) int64"""
    attention: Tensor
    """(n, p + t) int64: 1 on real tokens"""
    mask: Tensor
    """(n, t) bool: True on kept response tokens"""
    trunk: Tensor | None = None
    """(n, p + t, h) states below the first adapted block, where they are shared by all passes of a step"""
    states: Tensor | None = None
    """(n, t, h) what the head read to draw each response token, where sampling kept it; 0 on padding"""

    @property
    def prompt_width(self) -> int:
        """p, the columns before the responses."""
        return int(self.ids.shape[1] - self.mask.shape[1])

    @property
    def responses(self) -> Tensor:
        """(n, t) int64: the response's tokens."""
        return self.ids[:, self.prompt_width :]

    @property
    def lengths(self) -> Tensor:
        """(n,) int64: kept response tokens."""
        return self.mask.sum(dim=1)

    def take(self, rows: Tensor) -> Batch:
        """Return these episodes, cut to the longest prompt and the longest response among them."""
        attention, mask = self.attention[rows], self.mask[rows]
        # Positions count real tokens, so that dropping columns of padding changes no state.
        left = self.prompt_width - int(attention[:, : self.prompt_width].sum(dim=1).max())
        width = int(mask.sum(dim=1).max())
        right = self.prompt_width + width
        trunk = None if self.trunk is None else self.trunk[rows, left:right]
        states = None if self.states is None else self.states[rows, :width]
        return Batch(self.ids[rows, left:right], attention[:, left:right], mask[:, :width], trunk, states)

    def parts(self, size: int) -> Iterator[Tensor]:
        """Yield row indices, ``size`` at a time, episodes of like length together: least padding."""
        yield from torch.argsort(self.attention.sum(dim=1), stable=True).split(size)


def pad(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad_id: int, device: Any) -> Batch:
    """Lay out token ids of n prompts and n responses as a `Batch`."""
    p, t = max(map(len, prompts)), max(map(len, responses))
    ids, attention = [], []
    for prompt, response in zip(prompts, responses, strict=True):
        before, after = p - len(prompt), t - len(response)
        ids.append([pad_id] * before + [*prompt, *response] + [pad_id] * after)
        attention.append([0] * before + [1] * (len(prompt) + len(response)) + [0] * after)
    seen = torch.tensor(attention, device=device)
    return Batch(torch.tensor(ids, device=device), seen, seen[:, p:].bool())


def pad_floats(rows: Sequence[Sequence[float]], device: Any) -> Tensor:
    """Lay out a number per response token as (n, t) float32, 0 on padding."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], device=device)
