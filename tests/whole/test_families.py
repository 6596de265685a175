"""About 40 families of language models, tiny and from config objects: followed exactly, or refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model

from morlaif_core import (
    Lora,
    Message,
    PMJob,
    Preference,
    Principle,
    Target,
    UserError,
    decode,
    encode_pair,
    lora_config,
    make_prompt,
)
from morlaif_core.models.backbones import LocalBackbone, LocalBackbones
from morlaif_core.models.layers import context_length
from morlaif_pm import build_lora, build_probe
from morlaif_pm.encoding import load_tokenizer
from morlaif_pm.models import load_scorer, pooling_pad
from morlaif_pm.options import LoraOptions, ProbeOptions
from morlaif_pm.scoring import score_ids
from morlaif_ppo.batch import pad, pad_floats
from morlaif_ppo.network import Network, check_head
from tests.helpers.families import NESTED, OTHER_HEADS, RECURRENT, SERVED, family
from tests.helpers.local_judging import judge_of, request
from tests.helpers.tiny_models import tiny_tokenizer

PROMPTS = [[5, 6, 7], [9, 8, 30, 11, 40, 21, 33]]
ATTENTIVE = [*SERVED, *NESTED]
TEXTS = [("Bread?", "Flour."), ("How do I bake good bread with water?", "kind kind rise"), ("Rise?", "rude water bake")]


def sampled(model: Any, temperature: float) -> Any:
    return decode(
        model, tiny_tokenizer(), PROMPTS, n=2, max_new_tokens=24, temperature=temperature, stop=(), seed=0, eos_ids=()
    )


@torch.no_grad()
def plain(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Logits (t, V) of an answer's tokens by one pass over one row."""
    logits: torch.Tensor = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits
    return logits[0, len(prompt) - 1 : -1].float()


@pytest.mark.parametrize("name", ATTENTIVE)
def test_the_likeliest_answer_is_that_of_plain_passes(name: str) -> None:
    model = family(name)
    for prompt, row in zip(PROMPTS, sampled(model, 1e-4), strict=True):
        logits = plain(model, prompt, row[0].ids)
        chosen = logits.gather(1, torch.tensor(row[0].ids)[:, None])[:, 0]
        # Equal to the greedy choice, or level with it up to rounding.
        assert float((logits.max(-1).values - chosen).max()) < 2e-3


@pytest.mark.parametrize("name", ATTENTIVE)
def test_ppos_first_ratio_is_one(name: str) -> None:
    model = family(name)
    check_head(model)
    backbone = LocalBackbone(model, tiny_tokenizer(), torch.device("cpu"), 1, own=False)
    network = Network(backbone, backbone, None, None, 0.8)
    rows = [(prompt, one) for prompt, row in zip(PROMPTS, sampled(model, 0.8), strict=True) for one in row]
    batch = pad([prompt for prompt, _ in rows], [one.ids for _, one in rows], 2, "cpu")
    recorded = pad_floats([one.logprobs for _, one in rows], "cpu")
    ratio = (network.reference_logprobs(batch, 4) - recorded).exp()
    assert float((ratio - 1).abs().max()) < 1e-3


@pytest.mark.parametrize("name", OTHER_HEADS)
def test_ppo_refuses_logits_that_it_cannot_follow(name: str) -> None:
    assert sampled(family(name), 1.0)
    with pytest.raises(UserError, match=f"'{name}' change their logits"):
        check_head(family(name))


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("name", RECURRENT)
def test_models_with_other_states_are_refused(name: str, marked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose class does not carry transformers' mark, by what they compute."""
    model = family(name)
    if not marked:
        monkeypatch.setattr(model, "_is_stateful", False)
    with pytest.raises(UserError, match=f"'{name}'.*attention"):
        sampled(model, 1.0)


@pytest.mark.parametrize("name", ["lfm2", "mamba"])
def test_they_judge_no_more_than_they_answer(name: str, tmp_path: Path) -> None:
    judge = judge_of(saved(name, tmp_path))
    with pytest.raises(UserError, match=f"'{name}' can neither answer nor judge"):
        judge.ask_many([request()])


def test_sizes_of_a_model_with_images_are_those_of_its_language_model() -> None:
    assert context_length(family("gemma3")) == context_length(family("gpt2")) == 128
    with pytest.raises(UserError, match="128 positions"):
        decode(family("gemma3"), tiny_tokenizer(), PROMPTS, n=1, max_new_tokens=125, temperature=1.0, stop=(), seed=0)


def saved(name: str, folder: Path) -> Path:
    """Save a family's model, tokenizer included."""
    family(name).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def job_on(base: Path, out: Path) -> PMJob:
    pairs = [
        Preference(make_prompt([Message("user", prompt)]), answer, other, 0.9)
        for (prompt, answer), (_, other) in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)
    ]
    return PMJob(
        (Principle("kind", "Which?"),), {"kind": pairs}, {}, Target(model=str(base)), out, 3,
        lambda step, total, metrics, generate=None: "go", LocalBackbones("cpu", 1),
    )  # fmt: skip


# Falcon H1's random weights overflow above its middle layer.
@pytest.mark.parametrize("name", [name for name in [*ATTENTIVE, *RECURRENT] if name != "falcon_h1"])
def test_preference_models_score_a_text_alone_as_in_a_batch(name: str, tmp_path: Path) -> None:
    base = saved(name, tmp_path / "base")
    job, backend = job_on(base, tmp_path / "out"), build_probe(ProbeOptions(max_length=64, l2=1.0))
    backend.train(job)
    probe = backend.load(job.out, ("kind",), job.base, job.backbones)
    prompts, answers = [make_prompt([Message("user", prompt)]) for prompt, _ in TEXTS], [text for _, text in TEXTS]
    together = probe.score(prompts, answers).values
    alone = [probe.score([prompt], [text]).values[0] for prompt, text in zip(prompts, answers, strict=True)]
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=1e-3)

    tokenizer = load_tokenizer(str(base))
    torch.manual_seed(0)
    scorer = load_scorer(str(base), revision=None, dtype=torch.float32, pad=pooling_pad(tokenizer), device="cpu")
    rows = [encode_pair(tokenizer, prompt, text, 64) for prompt, text in zip(prompts, answers, strict=True)]
    scores = score_ids(scorer, rows, tokenizer.pad_token_id, 10**6)[:, 0]
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) == len(TEXTS)
    ones = [score_ids(scorer, [row], tokenizer.pad_token_id, 10**6)[0, 0] for row in rows]
    np.testing.assert_allclose(scores, ones, atol=1e-4)


def test_adapters_of_a_model_with_images_are_in_its_language_model() -> None:
    model = get_peft_model(deepcopy(family("gemma3")), lora_config(family("gemma3"), Lora(r=2)))
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert adapted
    assert all("language_model" in name for name in adapted)


@pytest.mark.parametrize("name", ["cohere", "granite", "gemma2", "gemma3"])
def test_an_adapter_is_trained_on_it_and_loaded_again(name: str, tmp_path: Path) -> None:
    job = job_on(saved(name, tmp_path / "base"), tmp_path / "out")
    backend = build_lora(LoraOptions(epochs=1, batch=8, max_length=64, top_layers=1))
    backend.train(job)
    model = backend.load(job.out, ("kind",), job.base, job.backbones)
    assert np.isfinite(model.score([make_prompt([Message("user", "Bread?")])], ["Flour."]).values).all()
