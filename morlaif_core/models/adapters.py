"""Low-rank adapters: which layers they adapt, how they are named inside a model, how their configuration is written."""

from __future__ import annotations

from typing import Any

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Lora

_NOT_LANGUAGE = r".*(vision|audio|image|multi_modal|projector).*"
"""Modules of models that also see or hear, which no text goes through."""


def lora_config(model: Any, lora: Lora) -> Any:
    """Return peft's LoraConfig. Raises `UserError` where top_layers exceeds the model's blocks.

    model: plain or wrapped. lora: its options; modules auto: every linear layer of the blocks, never the head;
    top_layers N: the last N blocks only.

    >>> from morlaif_core.testing import tiny_base
    >>> from transformers import AutoModelForCausalLM
    >>> sorted(lora_config(AutoModelForCausalLM.from_pretrained(tiny_base()), Lora(r=4)).target_modules)
    ['c_attn', 'c_fc', 'c_proj']
    """
    from peft import LoraConfig

    base = model.get_base_model() if hasattr(model, "peft_config") else model
    gpt2 = base.config.model_type == "gpt2"
    count = int(base.config.get_text_config().num_hidden_layers)
    top: dict[str, Any] = {}
    if lora.top_layers is not None:
        if lora.top_layers > count:
            raise UserError(f"lora.top_layers is {lora.top_layers}, but the model has {count} layers; lower it")
        top = {
            "layers_to_transform": list(range(count - lora.top_layers, count)),
            # peft reads a block's number behind this name, and GPT-2 calls its list of blocks h.
            "layers_pattern": "h" if gpt2 else "layers",
        }
    if base.config.get_text_config() is not base.config:
        top["exclude_modules"] = _NOT_LANGUAGE
    modules = _linear_names(base) if lora.modules == "auto" else list(lora.modules)
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        fan_in_fan_out=gpt2,  # GPT-2's Conv1D keeps its weight as (in, out), Linear as (out, in)
        bias="none",
        task_type="CAUSAL_LM",
        **top,
    )


def _linear_names(base: Any) -> list[str]:
    """Return the last names of the blocks' linear layers, sorted: no head, whatever its name; no adapter's own layers."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = set()
    for name, module in base.named_modules():
        # An adapter that is there already has taken the linear layer's name and keeps the layer inside as base_layer.
        inner = getattr(module, "base_layer", module)
        parts = name.removesuffix(".base_layer").split(".")
        # Only blocks are numbered: embeddings and head stand under no number.
        in_block = any(part.isdigit() for part in parts)
        if in_block and isinstance(inner, torch.nn.Linear | Conv1D) and "lora_" not in name:
            found.add(parts[-1])
    return sorted(found)


def belongs(name: str, weight: Any, adapter: str | None) -> bool:
    """Say whether a weight is the adapter's (None: the base's) and can be trained."""
    parts = name.split(".")
    # Quantised weights are integers, for which torch computes no gradient.
    if not weight.is_floating_point():
        return False
    if adapter is None:
        return not any(part.startswith(("lora_", "modules_to_save")) for part in parts)
    return module_name(adapter) in parts


def module_name(adapter: str) -> str:
    """Return a name that may stand in a module path: neither dots nor slashes."""
    return adapter.replace("/", "--").replace(".", "-dot-")


def config_text(config: Any) -> str:
    """Return a peft config as JSON, sets sorted, so that equal configs are equal files."""
    import json

    def plain(value: Any) -> Any:
        # A set of names has another order in every process.
        return sorted(value) if isinstance(value, set | frozenset) else str(value)

    return json.dumps(config.to_dict(), indent=2, sort_keys=True, default=plain) + "\n"
