"""Whether a model can be followed step by step: its keys and values are all that it keeps of the tokens before.

Leaves out: serving recurrent models by their own states, because those cannot be repeated, cut and padded as keys and
values can.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from morlaif_core.errors import UserError

from .layers import causal_lm

_CHECKED: WeakSet[Any] = WeakSet()
"""Models that passed: what a family keeps does not change in training."""
_LENGTHS, _STEPS = (7, 4), 2
"""Tokens of the two rows, unlike so that one is padded; how many of them are run one by one."""
_FAR, _FAR_ROUNDED = 0.05, 0.3
"""Distances that rounding does not explain, in float32 and in coarser numbers."""


def check_cache(model: Any) -> None:
    """Raise `UserError` where steps with our cache give other probabilities than one pass over the same tokens.

    Run in eval mode, without gradient. Once per model in memory, on two rows of a few tokens. model: a causal LM.

    >>> import torch
    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> with torch.no_grad():
    ...     check_cache(AutoModelForCausalLM.from_pretrained(tiny_base()).eval())
    """
    lm = causal_lm(model)
    if lm in _CHECKED:
        return
    # transformers' own mark of models with states that no cache of keys and values holds.
    if getattr(lm, "_is_stateful", False) or not _same(model):
        raise UserError(
            f"models of the family '{lm.config.model_type}' can neither answer nor judge here: cached steps do not give "
            "what one pass over the text gives (recurrent or convolutional layers, or no cache); take a model with "
            "attention alone (GPT-2, Llama, Mistral, Qwen 2 and 3, Gemma, Granite, ...)"
        )
    _CHECKED.add(lm)


def _same(model: Any) -> bool:
    """Compare the steps of a padded batch, each prompt with two answers, with a plain pass over each row."""
    import torch

    words = model.config.get_text_config().vocab_size
    rows = [[words * (place + row + 1) // 16 for place in range(length)] for row, length in enumerate(_LENGTHS)]
    plain = [model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0] for ids in rows]
    try:
        stepped = _stepped(model, rows)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a model that asks a cache for what ours does not hold raises whatever it meets first
        return False
    expected = torch.stack([logits[-_STEPS - 1 :] for logits in plain]).float().log_softmax(-1)
    # Weighted by probability: how far a sampled token's log-probability is off on average.
    far = (expected.exp() * (stepped.log_softmax(-1) - expected).abs()).sum(-1)
    # Turned round, as logits that are no numbers have an error of their own.
    return not bool(far.max() > (_FAR if plain[0].dtype == torch.float32 else _FAR_ROUNDED))


def _stepped(model: Any, rows: list[list[int]]) -> Any:
    """Return the logits (rows, steps + 1, V) that sampling would see, float32."""
    import torch

    from .kv_cache import PreallocatedCache, next_logits

    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    cache, start = PreallocatedCache(), width - _STEPS
    found = [next_logits(model, ids[:, :start], mask[:, :start], cache).repeat_interleave(2, 0)]
    ids, mask = ids.repeat_interleave(2, 0), mask.repeat_interleave(2, 0)
    cache.expand(2, width)
    stops = range(start + 1, width + 1)
    found += [next_logits(model, ids[:, stop - 1 : stop], mask[:, :stop], cache) for stop in stops]
    return torch.stack(found, 1)[1::2]
