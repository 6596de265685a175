"""The preference-model backends full, lora and probe: learning, soft labels, pooling, loading."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from morlaif_core import (
    Encoded,
    UserError,
    encode_pair,
)
from morlaif_core.models.backbones import LocalBackbones
from morlaif_pm import build_full, build_lora, morlaif_pm_backends
from morlaif_pm.encoding import batches_by_length, pad_right
from morlaif_pm.models import device_of, load_scorer, pooling_pad
from morlaif_pm.options import FullOptions, LoraOptions
from tests.helpers.preference_jobs import (
    BACKENDS,
    QUICK,
    KilledError,
    accuracy,
    flat,
    job_in,
    load,
    preferences,
    weights,
)
from tests.helpers.tiny_models import FAMILIES, save_tiny, tiny_tokenizer


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", BACKENDS)
def test_learns_each_principle_and_scores_in_order(name: str, family: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def report(step: int, total: int, metrics: Mapping[str, float], *, generate: Any = None) -> Literal["go"]:
        seen.append((step, total))
        return "go"

    job = job_in(tmp_path, family, ("kind", "rude"), report=report)
    BACKENDS[name].train(job)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1

    model = load(name, job, ("rude", "kind"))
    assert accuracy(model, preferences(100, "rude", 9), 0) > 0.8
    assert accuracy(model, preferences(100, "kind", 9), 1) > 0.8

    prompts, responses = flat(preferences(20, "kind", 5))
    matrix = model.score(prompts, responses)
    assert matrix.principles == ("rude", "kind")
    assert matrix.prompt_ids == tuple(prompt.id for prompt in prompts)
    assert matrix.values.dtype == np.float32
    one_by_one = [model.score([p], [r]).values[0] for p, r in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(matrix.values, one_by_one, atol=1e-5)
    np.testing.assert_allclose(model.score(prompts[::-1], responses[::-1]).values, matrix.values[::-1], atol=1e-5)
    assert model.score([], []).values.shape == (0, 2)

    separately = [load(name, job, (one,)).score(prompts, responses).values[:, 0] for one in ("rude", "kind")]
    np.testing.assert_allclose(np.stack(separately, axis=1), matrix.values, atol=1e-5)
    with pytest.raises(UserError, match="detail"):
        load(name, job, ("kind", "detail"))
    assert not list(job.out.rglob("checkpoint-*"))
    assert sorted(path.name for path in job.out.iterdir()) == ["kind", "rude"]


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "heads"])
def test_a_principle_does_not_depend_on_the_others(name: str, tmp_path: Path) -> None:
    together = job_in(tmp_path, names=("kind", "rude"), n=32)
    BACKENDS[name].train(together)
    alone = replace(together, principles=together.principles[1:], out=tmp_path / "alone")
    torch.rand(5)
    BACKENDS[name].train(alone)
    assert weights(alone.out / "rude") == weights(together.out / "rude")


@pytest.mark.parametrize("name", ["full", "lora"])
def test_trained_weights_are_float32_whatever_the_bases_dtype(name: str, tmp_path: Path) -> None:
    """In bfloat16 an update of 1e-5 vanishes."""
    from safetensors.torch import load_file

    job = job_in(tmp_path, n=16)
    job = replace(job, base=job.base.model_copy(update={"dtype": "bfloat16"}))
    BACKENDS[name].train(job)
    (file,) = (job.out / "kind").glob("*.safetensors")
    trained = load_file(file)
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in trained.values())
    (column,) = load(name, job, ("kind",)).columns
    loaded = {key: weight.dtype for key, weight in column().named_parameters()}
    of_base = {dtype for key, dtype in loaded.items() if name == "lora" and "kind" not in key}
    assert of_base <= {torch.bfloat16, torch.float32}
    assert {dtype for key, dtype in loaded.items() if name == "full" or "kind" in key} == {torch.float32}


def test_loading_adapters_warns_of_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    job = job_in(tmp_path, n=16)
    BACKENDS["lora"].train(job)
    load("lora", job, ("kind",))
    assert not [str(one.message) for one in recwarn if "checkpointing" in str(one.message)]


def test_autocast_scores_are_near(tmp_path: Path) -> None:
    from morlaif_pm.scoring import score_ids

    model = load_scorer(str(save_tiny(tmp_path, "llama")), revision=None, dtype=torch.float32, pad=2, device="cpu")
    rows = [Encoded(ids, 1) for ids in ([5, 6, 7, 0], [8, 9, 0])]
    exact, coarse = (score_ids(model, rows, 2, 64, autocast=half) for half in (False, True))
    assert exact.dtype == coarse.dtype == np.float32
    assert 0 < np.abs(exact - coarse).max() < 0.1 * np.abs(exact).max() + 0.1


def test_one_gpu_trains_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several would wrap the model by DataParallel, whose replicas keep the forward bound to the first."""
    from functools import cached_property
    from types import SimpleNamespace

    from transformers import TrainingArguments

    from morlaif_pm.trainer import Training, _config

    def devices(self: Any) -> torch.device:
        self._n_gpu = 2
        return torch.device("cuda:0")

    chosen: list[str] = []
    fake = cached_property(devices)
    fake.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", fake)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    for wanted, found, index in (("cuda", "cuda", []), ("cuda:1", "cuda:1", ["cuda:1"])):
        chosen.clear()
        device = device_of(SimpleNamespace(device=wanted))
        assert device == found
        training = Training(tmp_path, FullOptions(), 0, device, "", lambda step, loss: None, lambda: False)
        config = _config(training, 3)
        assert config.n_gpu == 1
        assert str(config.device) == ("cuda:0" if wanted == "cuda" else "cuda:1")
        assert config.train_batch_size == FullOptions().batch
        assert chosen[-1:] == index


def test_a_loss_that_nobody_saw_is_null(tmp_path: Path) -> None:
    """A kill between the last checkpoint and done.json leaves no step to do: what is written must be JSON."""
    backend = build_full(FullOptions(checkpoint_every=2, **QUICK))
    job = job_in(tmp_path, n=16)

    def killed(*args: Any) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morlaif_pm.full.save", killed)
        with pytest.raises(KilledError):
            backend.train(job)
    backend.train(job)
    text = (job.out / "kind" / "done.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None


def test_full_and_lora_are_loadable_by_their_libraries_alone(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    job = job_in(tmp_path, n=32)
    prompts, responses = flat(preferences(6))
    for name in ("full", "lora"):
        here = replace(job, out=tmp_path / name)
        BACKENDS[name].train(here)
        folder = here.out / "kind"
        source = folder if name == "full" else job.base.model
        model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1, pad_token_id=2)
        if name == "lora":
            model = PeftModel.from_pretrained(model, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = [encode_pair(tokenizer, p, r, 64).ids for p, r in zip(prompts, responses, strict=True)]
        ids, mask = pad_right(rows, tokenizer.pad_token_id)
        with torch.no_grad():
            plain = model.eval()(input_ids=ids, attention_mask=mask).logits[:, 0].numpy()
        np.testing.assert_allclose(plain, load(name, here, ("kind",)).score(prompts, responses).values[:, 0], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_pools_by_mask_where_pad_is_eos(family: str, tmp_path: Path) -> None:
    model = load_scorer(str(save_tiny(tmp_path, family)), revision=None, dtype=torch.float32, pad=None, device="cpu")
    rows, eos = [[5, 6, 7, 8, 9, 0], [11, 12, 0], [13, 0, 14, 0, 0]], 0
    ids, mask = pad_right(rows, eos)
    with torch.no_grad():
        batch = model(input_ids=ids, attention_mask=mask).logits[:, 0]
        trunk = getattr(model, model.base_model_prefix)
        alone = [model.score(trunk(torch.tensor([row])).last_hidden_state[0, -1])[0] for row in rows]
    torch.testing.assert_close(batch, torch.stack(alone), atol=1e-5, rtol=0)


def test_the_saved_pad_id_is_never_eos() -> None:
    tokenizer = tiny_tokenizer()
    assert pooling_pad(tokenizer) == 2
    tokenizer.pad_token = tokenizer.eos_token
    assert pooling_pad(tokenizer) == 1
    tokenizer.unk_token = tokenizer.eos_token
    assert pooling_pad(tokenizer) is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8), st.floats(0, 1)), min_size=1, max_size=9))
def test_soft_loss_and_its_gradient_are_the_formula_in_float64(rows: list[tuple[float, float, float]]) -> None:
    from morlaif_pm.trainer import soft_loss

    a, b, p = torch.tensor(rows, dtype=torch.float64).T
    a.requires_grad_(True)
    loss = soft_loss(a, b, p)
    loss.backward()
    x, y, q = (column.detach().numpy() for column in (a, b, p))
    sigmoid = 1 / (1 + np.exp(y - x))
    expected = -(q * np.log(sigmoid) + (1 - q) * np.log(1 - sigmoid)).mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-9)
    np.testing.assert_allclose(a.grad.numpy(), (sigmoid - q) / len(rows), atol=1e-12)


@pytest.mark.parametrize("n", [1, 7, 8, 21])
def test_the_trainers_gradient_is_that_of_the_whole_batch(n: int, tmp_path: Path) -> None:
    """Minibatches of at most 3 pairs against all pairs at once."""
    from morlaif_pm.trainer import PairCollator, SoftRewardTrainer, soft_loss

    model = load_scorer(str(save_tiny(tmp_path, "gpt2")), revision=None, dtype=torch.float32, pad=2, device="cpu")
    draw = random.Random(n)
    rows: list[dict[str, Any]] = [
        {key: [draw.randrange(3, 200) for _ in range(draw.randint(1, 9))] for key in ("chosen_ids", "rejected_ids")}
        | {"p_a": draw.random()}
        for _ in range(n)
    ]

    class Accelerator:
        backward = staticmethod(torch.Tensor.backward)

    trainer = SoftRewardTrainer.__new__(SoftRewardTrainer)
    trainer.accelerator, trainer.args = Accelerator(), torch.empty(0)
    trainer._prepare_inputs = lambda inputs: inputs
    trainer.compute_loss_context_manager = torch.enable_grad
    loss = trainer.training_step(model, PairCollator(0, 3)(rows))
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    rewards = []
    for key in ("chosen_ids", "rejected_ids"):
        ids, mask = pad_right([row[key] for row in rows], 0)
        rewards.append(model(input_ids=ids, attention_mask=mask).logits[:, 0])
    expected = soft_loss(rewards[0], rewards[1], torch.tensor([row["p_a"] for row in rows]))
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-4)


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], tokens: int) -> None:
    batches = list(batches_by_length(lengths, tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= tokens for batch in batches)


def test_what_a_user_can_cause_is_explained(tmp_path: Path) -> None:
    job = job_in(tmp_path, n=8)
    for backend in BACKENDS.values():
        with pytest.raises(UserError, match="'kind'"):
            backend.train(replace(job, train={}))
    with pytest.raises(UserError, match="q_prj"):
        build_lora(LoraOptions(modules=("c_attn", "q_prj"), **QUICK)).train(job)
    with pytest.raises(UserError, match="quantised"):
        BACKENDS["full"].train(replace(job, base=job.base.model_copy(update={"quantize": "4bit"})))
    BACKENDS["probe"].train(job)
    with pytest.raises(UserError, match="backend 'full'"):
        load("full", job, ("kind",))
    (job.out / "kind" / "head.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read"):
        load("probe", job, ("kind",))


def test_lora_trains_the_top_layers_only(tmp_path: Path) -> None:
    from safetensors import safe_open

    job = job_in(tmp_path, n=16)
    build_lora(LoraOptions(top_layers=1, **QUICK)).train(job)
    with safe_open(job.out / "kind" / "adapter_model.safetensors", "np") as file:
        names = [name for name in file.keys() if "lora" in name]  # noqa: SIM118 - no mapping
    assert names
    assert all(".h.2." in name for name in names)


@pytest.mark.parametrize("name", ["full", "lora", "heads"])
def test_training_and_scoring_set_the_threads_whatever_ran_before(name: str, tmp_path: Path) -> None:
    job = replace(job_in(tmp_path, n=16), backbones=LocalBackbones("cpu", "auto"))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        BACKENDS[name].train(job)
        assert torch.get_num_threads() == 1
        model = load(name, job, ("kind",))
        torch.set_num_threads(2)
        model.score(*flat(preferences(2)))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_offers_are_light_and_independent() -> None:
    offers = {offer.name: offer for offer in morlaif_pm_backends()}
    alone = {name: offer.build(offer.options()).independent for name, offer in offers.items() if offer.learns}
    assert alone == {"full": True, "lora": True, "heads": False, "probe": True}
    assert set(offers) - set(alone) == {"pretrained"}
    code = (
        "import sys, morlaif_pm; morlaif_pm.morlaif_pm_backends(); print({'torch', 'numpy', 'trl'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
