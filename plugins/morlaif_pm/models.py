"""Sequence-classification models that pool by attention mask and read the head in float32."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from morlaif_core import Target

from .encoding import resolved


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and its report of a head that is new, which is as it should be."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # libraries calling each other's old names
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def device_of(backbones: Any) -> str:
    """Return the device that models go to: ``cpu``, ``cuda`` or ``cuda:N``."""
    return str(getattr(backbones, "device", "cpu"))


def set_threads(model: Any, backbones: Any) -> None:
    """Set torch's CPU threads as the run's backbones say, where they do.

    Sums depend on their number, so a run that goes on after a kill must not find another one than the run before.
    """
    import torch

    wanted = backbones.thread_count(model) if hasattr(backbones, "thread_count") else None
    if wanted is not None and torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def dtype_for(base: Target, device: str, *, trained: bool) -> Any:
    """Return the weights' dtype; auto: bfloat16 on a GPU, else float32. Trained ones are float32 whatever is named.

    An update of 1e-5 of a weight vanishes in bfloat16; autocast does the arithmetic in it.
    """
    import torch

    if trained:
        return torch.float32
    if base.dtype != "auto":
        return getattr(torch, base.dtype)
    return torch.float32 if device == "cpu" else torch.bfloat16


def load_scorer(
    source: str, *, revision: str | None, dtype: Any, pad: int | None, device: str, outputs: int = 1
) -> Any:
    """Load a sequence-classification model that pools by mask; torch's global generator draws a missing head.

    outputs: rows of the head, a score each.
    """
    with quiet():
        model = scorer_class(source, revision).from_pretrained(
            source, revision=revision, num_labels=outputs, dtype=dtype, pad_token_id=pad
        )
    disable_dropout(model)
    fuse_gelu(model)
    return pool_by_mask(model.to(device).eval())


def scorer_class(source: str, revision: str | None) -> Any:
    """Return the class that loads a model's scorer: transformers' own, or one made alike for a family without any."""
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
    from transformers.modeling_layers import GenericForSequenceClassification

    config = type(AutoConfig.from_pretrained(source, revision=revision))
    bodies, known = AutoModel._model_mapping, AutoModelForSequenceClassification._model_mapping
    if config in known or config not in bodies:
        return AutoModelForSequenceClassification
    # Cohere, Granite and others. The parent of a family's models knows its weights and blocks.
    name = f"{config.__name__.removesuffix('Config')}ForSequenceClassification"
    return type(name, (GenericForSequenceClassification, bodies[config].__mro__[1]), {"config_class": config})


def load_base(base: Target, *, trained: bool, pad: int | None, device: str, outputs: int = 1) -> Any:
    """Load a base as a scorer: see `load_scorer`. ``trained``: its own weights will be moved."""
    dtype = dtype_for(base, device, trained=trained)
    return load_scorer(resolved(base), revision=base.revision, dtype=dtype, pad=pad, device=device, outputs=outputs)


def pooling_pad(tokenizer: Any) -> int | None:
    """Return the id of a special token other than eos, or None.

    transformers alone pools at the last token that is not the pad id: with pad = eos it drops the eos that we score at.
    The saved configuration names this id; None makes transformers refuse batches instead of scoring them wrongly.
    """
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id):
        if token is not None and token != tokenizer.eos_token_id:
            return int(token)
    return None


def disable_dropout(model: Any) -> None:
    """Set every dropout of the base to 0: TRL's default for reward models."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def fuse_gelu(model: Any) -> None:
    """Replace GPT-2's GELU, five tensor operations in transformers, by torch's fused kernel of the same formula."""
    import torch
    from transformers.activations import NewGELUActivation

    # A list, as modules are replaced while they are walked through.
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, torch.nn.GELU(approximate="tanh"))


def pool_by_mask(model: Any) -> Any:
    """Give a model a forward that scores the last token that the mask shows, whatever id pads; returns the model.

    It stays a transformers model: saving, peft and autocast go through this forward. DataParallel would not, as its
    replicas keep the forward bound to this model: train on one GPU.
    """
    # The forward pass reads it in float32, also over a base in bfloat16.
    model.score.float()
    model.forward = MethodType(_forward, model)
    return model


# `**_`: Trainer and peft pass more (labels, return_dict, token types), none of which a score depends on.
def _forward(self: Any, input_ids: Any = None, attention_mask: Any = None, **_: Any) -> Any:
    """Score (b, t) token ids under a (b, t) mask, padded on either side; ``logits`` (b, outputs) float32."""
    from transformers.modeling_outputs import SequenceClassifierOutput

    trunk = getattr(self, self.base_model_prefix)
    hidden = trunk(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return SequenceClassifierOutput(logits=head_scores(self, hidden, attention_mask))


def head_scores(model: Any, hidden: Any, attention_mask: Any) -> Any:
    """Return the head's outputs (b, outputs) float32 at the last token that the mask shows, for final states (b, t, h)."""
    import torch

    # The first 1 from the right, so that padding may stand on either side.
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)
    pooled = hidden[torch.arange(len(hidden), device=hidden.device), last]
    # A head in bfloat16 would round scores to three digits.
    with torch.autocast(hidden.device.type, enabled=False):
        return model.score(pooled.float())
