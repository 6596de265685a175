"""Next-token log-probabilities of many token rows: what rows begin with in common is run once.

Leaves out: a cache kept from batch to batch, because the requests of a pair come in one batch; and prefixes within prefixes:
where rows are split into groups, each group runs its own prefix from the first token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

from transformers.cache_utils import Cache, DynamicLayer

Rows = Sequence[Sequence[int]]


class Group(NamedTuple):
    """Rows, by place, whose first ``shared`` tokens are run once for all; each has at least one token of its own."""

    places: list[int]
    shared: int


def grouped(rows: Rows) -> list[Group]:
    """Put rows (none empty) into groups by common prefix, so that few tokens are run in all, padding counted."""
    return _split(rows, sorted(range(len(rows)), key=lambda place: list(rows[place]))) if rows else []


def _split(rows: Rows, places: list[int]) -> list[Group]:
    """Group sorted rows: all together, or apart where they first differ, whichever is less to run."""
    if len(places) == 1:
        return [Group(places, 0)]
    shortest = min(len(rows[place]) for place in places)
    # One token short of the shortest row at most: logits come from a row's own last token.
    shared = min(_common(rows[places[0]], rows[places[-1]]), shortest - 1)
    together = Group(places, shared)
    parts = [list(part) for _, part in groupby(places, key=lambda place: rows[place][shared])]
    if len(parts) == 1:  # the others begin with all of the first
        parts = [places[:1], places[1:]]
    apart = [group for part in parts for group in _split(rows, part)]
    return apart if sum(_cost(rows, group) for group in apart) < _cost(rows, together) else [together]


def _cost(rows: Rows, group: Group) -> int:
    longest = max(len(rows[place]) for place in group.places)
    return group.shared + len(group.places) * (longest - group.shared)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two rows begin with in common; of sorted rows, the outer two have what all have."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def next_logprobs(model: Any, rows: Rows, group: Group, budget: int) -> Iterator[tuple[list[int], Any]]:
    """Yield places of a group's rows and the log-probabilities (b, V) of the token that follows each, float32.

    budget: tokens in one pass, those of the prefix counted for every row; a row alone may exceed it. Rows are padded on
    the right, where no real token sees the padding, and keep the positions that they have in a pass of their own.
    """
    cache = _PrefixCache()
    if group.shared:
        _run_prefix(model, rows[group.places[0]][: group.shared], cache)
    for part in _passes(rows, group, budget):
        logits = _run_rest(model, [rows[place][group.shared :] for place in part], cache, group.shared)
        yield part, logits.float().log_softmax(-1)


def _passes(rows: Rows, group: Group, budget: int) -> Iterator[list[int]]:
    """Cut a group, by length, into parts that stay within the budget."""
    part: list[int] = []
    for place in sorted(group.places, key=lambda place: (len(rows[place]), place)):
        if part and (len(part) + 1) * len(rows[place]) > budget:
            yield part
            part = []
        part.append(place)
    yield part


def _run_prefix(model: Any, ids: Sequence[int], cache: _PrefixCache) -> None:
    """Fill the cache; the head runs on one position, as it cannot be left out."""
    import torch

    tokens = torch.tensor([list(ids)], device=model.device)
    places = torch.arange(len(ids), device=model.device)[None]
    mask = torch.ones_like(tokens)
    model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    # From here on transformers' own cache would keep each row's tokens behind the prefix.
    cache.freeze()


def _run_rest(model: Any, rows: Rows, cache: _PrefixCache, shared: int) -> Any:
    """Run what follows the prefix, right-padded; returns the logits (b, V) at each row's last token."""
    import torch

    width, device = max(len(row) for row in rows), model.device
    lengths = torch.tensor([len(row) for row in rows], device=device)
    # Any id pads: what stands behind is not seen by the tokens whose logits are read.
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    places = torch.arange(width, device=device)
    mask = torch.cat([torch.ones(len(rows), shared, device=device, dtype=torch.long), places < lengths[:, None]], 1)
    past = {"past_key_values": cache, "use_cache": True} if shared else {"use_cache": False}
    with _only_at(model, lengths - 1):
        output = model(
            input_ids=tokens, attention_mask=mask, position_ids=(shared + places)[None].expand_as(tokens), **past
        )
    return output.logits[:, 0]


@contextmanager
def _only_at(model: Any, places: Any) -> Iterator[None]:
    """Let the head see one position of each row (b,): a vocabulary of 49,152 at every position is most of the work."""
    import torch

    def pick(head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0]
        return (hidden[torch.arange(len(hidden), device=hidden.device), places][:, None],)

    # A hook, as `logits_to_keep` keeps the same positions of every row, and rows are of unlike length.
    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


class _Layer(DynamicLayer):  # type: ignore[misc]
    """One block's keys and values (1, heads, t, size); once frozen, they stand before those of every row and stay."""

    frozen = False

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if not self.frozen:
            keys, values = super().update(key_states, value_states, *args, **kwargs)
            return keys, values
        return _after(self.keys, key_states), _after(self.values, value_states)


def _after(prefix: Any, rows: Any) -> Any:
    import torch

    return torch.cat([prefix.expand(len(rows), -1, -1, -1), rows], dim=-2)


class _PrefixCache(Cache):  # type: ignore[misc]
    """transformers' cache of one prefix: repeated block by block, so that one block's copies are in memory at a time."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    def freeze(self) -> None:
        """Keep what is in it; what comes from now on follows it and is not kept."""
        for layer in self.layers:
            layer.frozen = True
