"""Scores of many responses under K scorers: batches of similar length, the order given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from morlaif_core import (
    Encoded,
    Floats,
    Prompt,
    ScoreMatrix,
    UserError,
    causal_lm,
    content_hash,
    layer_count,
    run_bottom,
    run_top,
)

from .encoding import batches_by_length, encode_all, pad_right
from .models import head_scores


class Scorers:
    """A `PreferenceModel` over K scorers that share a tokenizer.

    columns: for each principle, what readies the model (switches the adapter) and returns it. done: their done.json.
    autocast: float32 weights in bfloat16 arithmetic, as they were trained. trunk: blocks that all columns share, which then
    run once a batch; 0: none.
    """

    def __init__(
        self,
        principles: tuple[str, ...],
        columns: Sequence[Callable[[], Any]],
        done: Sequence[dict[str, Any]],
        tokenizer: Any,
        batch_tokens: int,
        *,
        autocast: bool = False,
        trunk: int = 0,
    ) -> None:
        self.principles, self.columns, self.done = principles, columns, done
        self.tokenizer, self.batch_tokens, self.autocast, self.trunk = tokenizer, batch_tokens, autocast, trunk

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k) float32, log-odds of being preferred up to a constant; any n, 0 too."""
        values = np.zeros((len(prompts), len(self.principles)), dtype=np.float32)
        pad = self.tokenizer.pad_token_id
        for how, places in self._alike():
            encoded = encode_all(self.tokenizer, prompts, responses, *how)
            columns = [self.columns[place] for place in places]
            if self.trunk:
                values[:, places] = score_on_trunk(columns, encoded, pad, self.batch_tokens, self.trunk)
                continue
            for place, ready in zip(places, columns, strict=True):
                scores = score_ids(ready(), encoded, pad, self.batch_tokens, autocast=self.autocast)
                values[:, place] = scores[:, 0]
        return ScoreMatrix(values, self.principles, tuple(prompt.id for prompt in prompts))

    def _alike(self) -> list[tuple[tuple[Any, ...], list[int]]]:
        """Return how texts are encoded, with the columns that read them so."""
        found: dict[str, tuple[tuple[Any, ...], list[int]]] = {}
        for place, done in enumerate(self.done):
            how = (done["max_length"], done["template"], done.get("chat_template_kwargs"))
            found.setdefault(content_hash(how), (how, []))[1].append(place)
        return list(found.values())


def score_ids(model: Any, encoded: Sequence[Encoded], pad: int, batch_tokens: int, *, autocast: bool = False) -> Floats:
    """Score n encoded texts by one model, in eval mode and without gradient; returns (n, outputs) float32."""
    import torch

    scores = np.zeros((len(encoded), int(model.config.num_labels)), dtype=np.float32)
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
        for batch in batches_by_length([len(row.ids) for row in encoded], batch_tokens):
            ids, mask = pad_right([encoded[index].ids for index in batch], pad)
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
            scores[batch] = logits.float().cpu().numpy()
    return scores


def shared_trunk(model: Any) -> int:
    """Return the blocks below every adapter of a peft model; 0 where it cannot be run in parts.

    >>> shared_trunk(object())
    0
    """
    lowest = [config.layers_to_transform for config in getattr(model, "peft_config", {}).values()]
    if not lowest or not all(lowest):
        return 0
    try:
        layer_count(model)
    except UserError:  # a family that is run as a whole
        return 0
    return int(min(min(layers) for layers in lowest))


def score_on_trunk(
    columns: Sequence[Callable[[], Any]], encoded: Sequence[Encoded], pad: int, batch_tokens: int, trunk: int
) -> Floats:
    """Score n encoded texts by adapters that leave the first ``trunk`` blocks alone; returns (n, columns) float32.

    A batch's states after these blocks are computed once, and each adapter's own blocks go on from them.
    """
    import torch

    scores = np.zeros((len(encoded), len(columns)), dtype=np.float32)
    with torch.no_grad():
        for batch in batches_by_length([len(row.ids) for row in encoded], batch_tokens):
            model = columns[0]().eval()
            ids, mask = (part.to(model.device) for part in pad_right([encoded[index].ids for index in batch], pad))
            below = run_bottom(model, ids, mask, trunk)
            for column, ready in enumerate(columns):
                hidden = run_top(ready(), below, mask, trunk, last_hidden=True)
                scores[batch, column] = head_scores(causal_lm(model), hidden, mask)[:, 0].cpu().numpy()
    return scores
