"""The states that a language model's head reads, taken while it samples: a value head needs no pass of its own then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .layers import causal_lm


class HeadStates:
    """Keeps the head's last input, and that of each row and step of a batch of responses."""

    def __init__(self) -> None:
        self.last: Any = None
        self.kept: Any = None

    def keep(self, rows: Sequence[int], step: int, steps: int, n: int) -> None:
        """Keep what token ``step`` of these rows was drawn from; the first step's is of the prompts, n rows for each."""
        states = self.last if step else self.last.repeat_interleave(n, 0)
        if step == 0:
            self.kept = states.new_zeros((len(rows), steps, states.shape[1]))
        self.kept[rows, step] = states


@contextmanager
def reading(model: Any) -> Iterator[HeadStates]:
    """Yield what follows the head's input (b, h) at the last position of each pass."""
    states = HeadStates()

    def read(head: Any, inputs: tuple[Any, ...]) -> None:
        states.last = inputs[0][:, -1]

    hook = causal_lm(model).get_output_embeddings().register_forward_pre_hook(read)
    try:
        yield states
    finally:
        hook.remove()
