"""The sampler `transformers` on tiny saved models: base, adapter and full policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from morlaif_core import Generation, Lora, Message, Policy, Target, lora_config, make_prompt
from morlaif_core.models.backbones import LocalBackbones
from morlaif_transformers import TransformersSamplerOptions, build_sampler, morlaif_samplers
from tests.helpers.tiny_models import FAMILIES, save_tiny

TEXTS = ("How do I bake?", "Hi", "Tell me a long story about bread and flour and water", "Why?")
PROMPTS = [make_prompt([Message("user", text)]) for text in TEXTS]
GENERATION = Generation(max_new_tokens=12, temperature=1.0)


def sample(policy: Policy, backbones: LocalBackbones, seed: int = 1, batch_size: int = 64) -> Sequence[tuple[str, ...]]:
    sampler = build_sampler(TransformersSamplerOptions(batch_size=batch_size))
    return sampler.sample(policy, PROMPTS, n=3, seed=seed, generation=GENERATION, backbones=backbones)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chat", [False, True])
def test_a_chunk_is_fixed_by_its_seed(family: str, chat: bool, tmp_path: Path) -> None:
    policy = Policy(Target(model=str(save_tiny(tmp_path, family, chat=chat))))
    first = sample(policy, LocalBackbones())
    assert [len(row) for row in first] == [3] * 4
    assert first == sample(policy, LocalBackbones())
    assert first == sample(policy, LocalBackbones(), batch_size=3)
    assert first != sample(policy, LocalBackbones(), seed=2)
    assert not any("\n\nHuman:" in text or "</s>" in text for row in first for text in row)


def test_trained_policies_answer_differently(tmp_path: Path) -> None:
    target = Target(model=str(save_tiny(tmp_path / "base", "llama")))
    backbones = LocalBackbones()
    backbone = backbones.get(target)
    backbone.add("policy", lora_config(backbone.model, Lora(r=2)))
    for weight in backbone.parameters("policy"):
        weight.data.add_(0.1)
    backbone.save("policy", tmp_path / "adapter")
    base = sample(Policy(target), backbones)
    adapter = sample(Policy(target, tmp_path / "adapter"), backbones)
    full = sample(Policy(target, save_tiny(tmp_path / "full", "llama", seed=9)), backbones)
    assert base not in (adapter, full)
    assert adapter != full
    assert base == sample(Policy(target), backbones)


def test_it_is_offered() -> None:
    (offer,) = morlaif_samplers()
    assert offer.name == "transformers"
    assert offer.options is TransformersSamplerOptions
