"""Loading, adapters, states and errors of backbones, on tiny real GPT-2 and Llama models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from morlaif_core import Lora, Policy, Target, UserError, lora_config, policy_backbone
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.models.loading import ensure_pad
from tests.helpers.tiny_models import FAMILIES, save_tiny, tiny_tokenizer

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model", request.param)


def shake(backbone: object, adapter: str, seed: int) -> None:
    """Move an adapter off its zero start."""
    generator = torch.Generator().manual_seed(seed)
    for weight in backbone.parameters(adapter):  # type: ignore[attr-defined]
        weight.data.add_(torch.randn(weight.shape, generator=generator) * 0.1)


def test_one_copy_and_own_copies(folder: Path) -> None:
    backbones = LocalBackbones()
    target = Target(model=str(folder))
    first, again, own = backbones.get(target), backbones.get(target), backbones.get(target, own=True)
    assert first is again
    assert own is not first
    assert own.model is not first.model
    assert not any(weight.requires_grad for weight in first.model.parameters())
    assert all(weight.requires_grad for weight in own.model.parameters())
    assert torch.get_num_threads() == 1
    assert backbones.device == str(first.device)
    backbones.release()
    assert backbones.get(target) is not first


def test_a_changed_folder_is_loaded_again(folder: Path) -> None:
    backbones = LocalBackbones()
    target = Target(model=str(folder))
    before = backbones.get(target)
    save_tiny(folder, "gpt2", seed=5)
    assert backbones.get(target) is not before


def test_base_is_untouched_by_adapters_and_states_come_back(folder: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    plain = backbone.model(IDS).logits
    for name in ("pm/toxicity", "policy"):
        backbone.add(name, lora_config(backbone.model, Lora(r=2)))
        shake(backbone, name, len(name))
    with backbone.use(None) as model:
        assert torch.equal(model(IDS).logits, plain)
        assert not torch.is_grad_enabled()
        with backbone.use("policy", grad=True, train=True) as inner:
            policy = inner(IDS).logits
            assert policy.requires_grad
            assert inner.training
            wanted = {name for name, weight in inner.named_parameters() if weight.requires_grad}
            assert wanted
            assert all(".policy." in name for name in wanted)
        with backbone.use("pm/toxicity") as inner:
            assert not torch.allclose(inner(IDS).logits, policy)
        assert torch.equal(model(IDS).logits, plain)
        assert not model.training
    assert torch.is_grad_enabled()
    with pytest.raises(KeyError), backbone.use("pm/empathy"):
        pass


def test_state_comes_back_after_an_exception(folder: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    with pytest.raises(RuntimeError), backbone.use(None, grad=True, train=True):
        raise RuntimeError("stop")
    assert not backbone.model.training
    assert not any(weight.requires_grad for weight in backbone.model.parameters())


def test_saved_adapter_loads_here_and_by_peft_alone(folder: Path, tmp_path: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    backbone.add("pm/toxicity", lora_config(backbone.model, Lora(r=2, top_layers=1)))
    shake(backbone, "pm/toxicity", 1)
    with backbone.use("pm/toxicity") as model:
        expected = model(IDS).logits
    out = tmp_path / "adapter"
    backbone.save("pm/toxicity", out)
    assert sorted(path.name for path in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]

    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), out).eval()
    assert torch.equal(alone(IDS).logits, expected)

    fresh, name = policy_backbone(Policy(Target(model=str(folder)), out), LocalBackbones())
    before = torch.get_rng_state()
    fresh.load("other", out)
    assert torch.equal(torch.get_rng_state(), before)
    for adapter in (name, "other"):
        with fresh.use(adapter) as model:
            assert torch.equal(model(IDS).logits, expected)


def test_policy_backbone_knows_full_models_and_the_target(folder: Path, tmp_path: Path) -> None:
    backbones = LocalBackbones()
    target = Target(model=str(folder))
    assert policy_backbone(Policy(target), backbones) == (backbones.get(target), None)
    other = save_tiny(tmp_path / "other", "gpt2", seed=3)
    backbone, name = policy_backbone(Policy(target, other), backbones)
    assert name is None
    assert backbone.model.config.model_type == "gpt2"


def test_a_trained_full_policy_keeps_its_weights_whatever_the_targets_dtype(folder: Path, tmp_path: Path) -> None:
    """Rounded to bfloat16, an update of 1e-5 is gone: evaluation would measure another policy."""
    trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for weight in trained.parameters():
        weight.data.add_(1e-5)
    trained.save_pretrained(tmp_path / "trained")
    tiny_tokenizer().save_pretrained(tmp_path / "trained")
    target = Target(model=str(folder), dtype="bfloat16")
    backbone, _ = policy_backbone(Policy(target, tmp_path / "trained"), LocalBackbones("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(backbone.model.parameters(), trained.parameters(), strict=True))


def test_adding_an_adapter_warns_of_nothing(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    backbone.add("policy", lora_config(backbone.model, Lora(r=2)))
    assert not [str(warning.message) for warning in recwarn if "checkpointing" in str(warning.message)]


def test_threads_follow_the_size_unless_they_are_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    model = LocalBackbones("cpu").get(Target(model=str(folder))).model
    assert LocalBackbones("cpu").thread_count(model) == 1
    assert LocalBackbones("cpu", threads=3).thread_count(model) == 3
    monkeypatch.setattr("morlaif_core.models.backbones._TINY", 0)
    assert LocalBackbones("cpu").thread_count(model) == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert LocalBackbones("cpu").thread_count(model) == cores
    assert LocalBackbones("cpu").thread_count(model.to("meta")) is None, "no CPU, no threads to set"


def test_a_fresh_adapter_is_fixed_by_the_seed(folder: Path) -> None:
    states = []
    for _ in range(2):
        backbone = LocalBackbones().get(Target(model=str(folder)))
        torch.manual_seed(11)
        backbone.add("policy", lora_config(backbone.model, Lora(r=2)))
        states.append([weight.detach().clone() for weight in backbone.parameters("policy")])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_adding_again_starts_anew(folder: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    plain = backbone.model(IDS).logits
    config = lora_config(backbone.model, Lora(r=2))
    backbone.add("policy", config)
    shake(backbone, "policy", 1)
    backbone.add("policy", config)
    with backbone.use("policy") as model:
        assert torch.equal(model(IDS).logits, plain)
    backbone.remove("policy")
    with pytest.raises(KeyError), backbone.use("policy"):
        pass


def test_lora_config_adapts_every_linear_layer_but_the_head(folder: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    gpt2 = backbone.model.config.model_type == "gpt2"
    per_layer = 4 if gpt2 else 7
    for top, expected in ((None, 3 * per_layer), (1, per_layer)):
        config = lora_config(backbone.model, Lora(r=2, top_layers=top))
        assert config.fan_in_fan_out is gpt2
        backbone.add("policy", config)
        names = [name for name, _ in backbone.model.named_parameters() if ".lora_A.policy" in name]
        assert len(names) == expected
        assert not any("lm_head" in name for name in names)
        assert top is None or all(".2." in name for name in names)
    scorer = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    assert lora_config(scorer, Lora()).target_modules == config.target_modules
    with pytest.raises(UserError, match="top_layers"):
        lora_config(backbone.model, Lora(top_layers=9))


def test_wrong_models_are_clear_errors(folder: Path, tmp_path: Path) -> None:
    backbones = LocalBackbones()
    with pytest.raises(UserError, match="no model folder"):
        backbones.get(Target(model=str(tmp_path / "nothing")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):
        backbones.get(Target(model=str(tmp_path / "empty")))
    with pytest.raises(UserError, match="quantize"):
        LocalBackbones(device="cpu").get(Target(model=str(folder), quantize="4bit"))
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="again"):
        backbones.get(Target(model=str(folder)))


def test_unreachable_hub_model_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="give a folder"):
        LocalBackbones().get(Target(model="nobody-here/no-such-model-of-ours"))


def test_wrong_adapters_are_clear_errors(folder: Path, tmp_path: Path) -> None:
    backbone = LocalBackbones().get(Target(model=str(folder)))
    with pytest.raises(UserError, match="no readable adapter"):
        backbone.load("policy", tmp_path)
    other = LocalBackbones().get(Target(model=str(save_tiny(tmp_path / "wide", "gpt2", width=48))))
    other.add("policy", lora_config(other.model, Lora(r=2)))
    other.save("policy", tmp_path / "wide-adapter")
    with pytest.raises(UserError, match="does not fit this model"):
        backbone.load("policy", tmp_path / "wide-adapter")


def test_pad_is_reused_and_never_added(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    tokenizer.pad_token = None
    ensure_pad(tokenizer, size)
    assert tokenizer.pad_token == "<pad>"
    assert len(tokenizer) == size
    monkeypatch.setattr("morlaif_core.models.loading._PAD_NAMES", ())
    tokenizer.pad_token = None
    ensure_pad(tokenizer, size)
    assert tokenizer.pad_token == "<unk>"
    tokenizer.unk_token = tokenizer.eos_token
    tokenizer.pad_token = None
    ensure_pad(tokenizer, size)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
