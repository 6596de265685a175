"""A key-value cache: filled once per prompt, repeated for its n responses, allocated once for their length.
Leaves out: forgetting what has passed a sliding window (the mask hides it), paging and quantised keys."""

from __future__ import annotations

from typing import Any

# At the top, since the classes inherit: this module itself is imported only when something is sampled.
from transformers.cache_utils import Cache, DynamicLayer

from .layers import positions


class _Layer(DynamicLayer):  # type: ignore[misc]
    """One block's keys and values (b, heads, t, size): views into buffers of the final length after `expand`."""

    keys: Any
    values: Any

    def __init__(self) -> None:
        super().__init__()
        self.room: tuple[Any, Any] | None = None

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        # The prompts' pass: concatenated once, so that transformers' own layer will do.
        if self.room is None:
            keys, values = super().update(key_states, value_states, *args, **kwargs)
            return keys, values
        start = self.keys.shape[-2]
        stop = start + key_states.shape[-2]
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            # In place: torch.cat would copy the cache of all tokens before for each new one.
            room[:, :, start:stop].copy_(new)
        self.keys, self.values = (room[:, :, :stop] for room in self.room)
        return self.keys, self.values

    def expand(self, n: int, length: int) -> None:
        """Repeat each row n times, in buffers with room for ``length`` tokens."""
        self.room = self._buffer(self.keys, n, length), self._buffer(self.values, n, length)
        self.keys, self.values = (room[:, :, : self.keys.shape[-2]] for room in self.room)

    @staticmethod
    def _buffer(filled: Any, n: int, length: int) -> Any:
        rows, heads, used, size = filled.shape
        # Not zeroed: what lies beyond the tokens seen is in no view.
        buffer = filled.new_empty(rows * n, heads, length, size)
        buffer[:, :, :used] = filled.repeat_interleave(n, 0)
        return buffer

    def select(self, rows: Any) -> None:
        """Keep these rows (b',)."""
        if self.room is not None:
            used = self.keys.shape[-2]
            self.room = self.room[0][rows], self.room[1][rows]
            self.keys, self.values = (room[:, :, :used] for room in self.room)


class PreallocatedCache(Cache):  # type: ignore[misc]
    """transformers' cache, one `_Layer` per block, made as the blocks ask for it."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    def expand(self, n: int, length: int) -> None:
        """Repeat every row n times, with room for ``length`` tokens: the prompts' passes are paid for once."""
        for layer in self.layers:
            layer.expand(n, length)

    def select(self, rows: Any) -> None:
        """Keep these rows: the ended ones cost nothing any more."""
        for layer in self.layers:
            layer.select(rows)


def next_logits(model: Any, ids: Any, mask: Any, cache: PreallocatedCache) -> Any:
    """Run the model on new tokens (b, t) behind those of the cache; returns the last position's logits (b, V) float32.

    mask: (b, all tokens so far), 1 on real ones.
    """
    output = model(
        input_ids=ids,
        attention_mask=mask,
        # Counted over real tokens, or padding would move a prompt to other positions.
        position_ids=positions(mask)[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,  # a long prompt's logits would be positions x vocabulary
    )
    # In bfloat16 the running sum over the vocabulary would move in steps of 1/256.
    return output.logits[:, -1].float()
