"""Features of responses: a middle layer's states, averaged over a response's tokens, in one pass of the frozen base.

Leaves out: the last token's state alone, because on a frozen base it predicts poorly (SmolLM2 on HH-rlhf, 200 test pairs:
accuracy .635 against .727).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from morlaif_core import Backbone, Encoded, Floats, UserError, content_hash, run_bottom

from .encoding import batches_by_length, pad_right

ALONE = 1
"""A ``batch_tokens`` that puts each text into a batch of its own: its features depend on nothing else then."""


def layer_for(model: Any, wanted: int | Literal["auto"]) -> int:
    """Return how many blocks to run; auto: 0.55 of the depth, at least one. Raises `UserError` beyond the depth."""
    # The middle layers tell most; the last ones are shaped for the next token alone.
    depth = int(model.config.get_text_config().num_hidden_layers)
    layer = max(1, round(0.55 * depth)) if wanted == "auto" else wanted
    if not 1 <= layer <= depth:
        raise UserError(
            f"preference_model.layer is {layer}, but the base has {depth} layers; give 1 to {depth}, or auto"
        )
    return layer


def features(
    backbone: Backbone,
    encoded: Sequence[Encoded],
    layer: int,
    batch_tokens: int,
    *,
    cache: Cache | None = None,
    report: Callable[[int], object] | None = None,
) -> Floats:
    """Return (n, h) float32 features of n encoded texts; n may be 0. report: called with how many texts are done."""
    width = int(backbone.model.config.get_text_config().hidden_size)
    result = np.zeros((len(encoded), width), dtype=np.float32)
    done = 0
    for batch in batches_by_length([len(row.ids) for row in encoded], batch_tokens):
        rows = [encoded[index] for index in batch]
        make = partial(_run, backbone, rows, layer)
        result[batch] = cache.get(rows, make) if cache else make()
        done += len(batch)
        if report is not None:
            report(done)
    return result


def _run(backbone: Backbone, rows: Sequence[Encoded], layer: int) -> Floats:
    """Run one batch through the base, adapters off; returns (b, h) float32."""
    import torch

    ids, mask = pad_right([row.ids for row in rows], backbone.tokenizer.pad_token_id)
    # The response alone: the prompt is the same for both responses of a pair.
    answer = torch.tensor([[float(row.start <= t < len(row.ids)) for t in range(ids.shape[1])] for row in rows])
    # The policy's adapter may be on this very model, and features must not move with it.
    with backbone.use(None) as model, torch.no_grad():
        device = model.device
        states = _states(model, ids.to(device), mask.to(device), layer).float()
        weight = (answer / answer.sum(dim=1, keepdim=True)).to(device)
        pooled = torch.bmm(weight.unsqueeze(1), states).squeeze(1)
    return np.asarray(pooled.cpu().numpy(), dtype=np.float32)


def _states(model: Any, ids: Any, mask: Any, layer: int) -> Any:
    """Return the states (b, t, h) after ``layer`` blocks, before any final norm where there are more blocks."""
    try:
        return run_bottom(model, ids, mask, layer)
    except UserError:  # a family that cannot be run in parts: run all of it and keep one layer
        return model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states[
            layer
        ]


class Cache:
    """Features on disk, a file per batch, named by all that they depend on: a killed run reads what it had.

    Which texts make up a batch changes the last digits: to find a text again beside others, run each `ALONE`.
    """

    def __init__(self, folder: Path, *identity: object) -> None:
        self.folder, self.identity = folder, identity
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, rows: Sequence[Encoded], make: Callable[[], Floats]) -> Floats:
        """Return the features (b, h) of a batch from its file, or make and keep them, whole or not at all."""
        path = self.folder / f"{content_hash(self.identity, [[row.start, row.ids] for row in rows])}.npy"
        if not path.is_file():
            # By rename, so that a kill never leaves half a file under a name that counts.
            temporary = path.with_suffix(".tmp")
            with temporary.open("wb") as file:
                np.save(file, make())
            os.replace(temporary, path)
        found: Floats = np.load(path)
        return found
