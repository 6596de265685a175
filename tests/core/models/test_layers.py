"""A model run in parts is the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from morlaif_core import Lora, UserError, layer_count, lm_logits, lora_config, run_bottom, run_middle, run_top
from morlaif_core.models.layers import positions
from tests.helpers.tiny_models import FAMILIES, tiny_model

MASKS = {
    "left": [[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]],
    "right": [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]],
    "none": [[1] * 7, [1] * 7],
}


def inputs(padding: str) -> tuple[Any, Any]:
    ids = torch.randint(3, 100, (2, 7), generator=torch.Generator().manual_seed(0))
    return ids, torch.tensor(MASKS[padding])


def adapted(family: str, **options: Any) -> Any:
    """Return a peft-wrapped model whose adapter moves the output."""
    from peft import get_peft_model

    model = tiny_model(family)
    torch.manual_seed(0)
    wrapped = get_peft_model(model, lora_config(model, Lora(r=2, **options))).eval()
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1)
    return wrapped


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", MASKS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_parts_equal_the_whole(family: str, padding: str, wrapped: bool) -> None:
    model = adapted(family) if wrapped else tiny_model(family)
    ids, mask = inputs(padding)
    real = mask.bool()
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
        assert layer_count(model) == 3
        for layers in range(4):
            hidden = run_bottom(model, ids, mask, layers)
            torch.testing.assert_close(run_top(model, hidden, mask, layers)[real], whole[real], atol=1e-5, rtol=0)
            final = run_top(model, run_middle(model, hidden, mask, layers, 3), mask, 3, last_hidden=True)
            torch.testing.assert_close(lm_logits(model, final)[real], whole[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3"])
def test_other_families_of_the_same_shape(kind: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=None,
        bos_token_id=None,
        eos_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    ids, mask = inputs("left")
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
        parts = run_top(model, run_bottom(model, ids, mask, 1), mask, 1)
    torch.testing.assert_close(parts[mask.bool()], whole[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lies_below_the_adapter_is_the_bases(family: str) -> None:
    model = adapted(family, top_layers=1)
    ids, mask = inputs("left")
    with torch.no_grad():
        assert torch.equal(run_bottom(model, ids, mask, 2), run_bottom(tiny_model(family), ids, mask, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_through_the_top_equal_those_of_the_whole(family: str) -> None:
    model = adapted(family, top_layers=1)
    ids, mask = inputs("left")
    real = mask.bool()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    assert weights
    with torch.no_grad():
        hidden = run_bottom(model, ids, mask, 2)
    whole = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits[real].logsumexp(-1).sum()
    part = run_top(model, hidden, mask, 2)[real].logsumexp(-1).sum()
    for a, b in zip(torch.autograd.grad(part, weights), torch.autograd.grad(whole, weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_wrong_use() -> None:
    model = tiny_model("gpt2")
    ids, mask = inputs("none")
    with pytest.raises(ValueError, match="blocks"):
        run_bottom(model, ids, mask, 4)
    model.config.model_type = "bloom"
    with pytest.raises(UserError, match="bloom"):
        layer_count(model)
