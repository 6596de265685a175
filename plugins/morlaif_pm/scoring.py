"""Scores of many responses under K scorers: batches of similar length, the order given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from morlaif_core import Encoded, Floats, Prompt, ScoreMatrix, content_hash

from .encoding import batches_by_length, encode_all, pad_right


class Scorers:
    """A `PreferenceModel` over K scorers that share a tokenizer.

    columns: for each principle, what readies the model (switches the adapter) and returns it. done: their done.json.
    autocast: float32 weights in bfloat16 arithmetic, as they were trained.
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
    ) -> None:
        self.principles, self.columns, self.done = principles, columns, done
        self.tokenizer, self.batch_tokens, self.autocast = tokenizer, batch_tokens, autocast

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> ScoreMatrix:
        """Return raw scores (n, k) float32, log-odds of being preferred up to a constant; any n, 0 too."""
        values = np.zeros((len(prompts), len(self.principles)), dtype=np.float32)
        encodings: dict[str, list[Encoded]] = {}
        for column, (ready, done) in enumerate(zip(self.columns, self.done, strict=True)):
            how = (done["max_length"], done["template"], done.get("chat_template_kwargs"))
            if (key := content_hash(how)) not in encodings:
                encodings[key] = encode_all(self.tokenizer, prompts, responses, *how)
            pad = self.tokenizer.pad_token_id
            scores = score_ids(ready(), encodings[key], pad, self.batch_tokens, autocast=self.autocast)
            values[:, column] = scores[:, 0]
        return ScoreMatrix(values, self.principles, tuple(prompt.id for prompt in prompts))


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
