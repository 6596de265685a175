"""The backend `pretrained`: the model's own scores of its own texts in any batch; what does not fit is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from morlaif_core import CutOff, Floats, Message, Target, UserError, make_prompt
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.testing import check_pm_backend, tiny_base
from morlaif_pm import build_pretrained, morlaif_pm_backends
from morlaif_pm.classifier import chosen_output, label_names, load_classifier
from morlaif_pm.options import PretrainedOptions
from morlaif_pm.pretrained import target_of
from tests.helpers.tiny_classifiers import save_decoder, save_encoder

BACKBONES = LocalBackbones("cpu", 1)
PROMPTS = [make_prompt("How do I bake bread?"), make_prompt("Why?"), make_prompt("How do I bake good bread today?")]
TEXTS = ["Mix flour and water, then let it rest.", "No.", CutOff("Please mix flour")]
(COMPONENT,) = (one for one in morlaif_pm_backends() if one.name == "pretrained")


def classifier(folder: Path, **options: Any) -> Any:
    chosen = PretrainedOptions(model=str(folder), **options)
    return load_classifier(target_of(chosen).model_copy(update={"dtype": "float32"}), chosen, BACKBONES)


def own_outputs(folder: Path, rows: list[list[int]], **more: list[list[int]]) -> Any:
    """What transformers alone says of single texts, (n, outputs)."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        inputs = [
            {key: torch.tensor([rows[place]]) for key, rows in {"input_ids": rows, **more}.items()}
            for place in range(len(rows))
        ]
        return torch.cat([model(**one).logits for one in inputs]).numpy()


@pytest.mark.parametrize("pad", [2, None])
def test_a_decoder_scores_a_text_as_transformers_scores_it_alone(tmp_path: Path, pad: int | None) -> None:
    folder = save_decoder(tmp_path / "rm", pad=pad, chat=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [
        [{"role": "user", "content": p.messages[0].content}, {"role": "assistant", "content": str(r)}]
        for p, r in zip(PROMPTS, TEXTS, strict=True)
    ]
    rows = [list(tokenizer.apply_chat_template(turn)["input_ids"]) for turn in turns]
    rows[2] = rows[2][:-1]  # cut off: the token that closes a turn is not there
    found = classifier(folder).score(PROMPTS, TEXTS)
    np.testing.assert_allclose(found, own_outputs(folder, rows)[:, 0], atol=1e-5)
    assert np.ptp(found) > 0.01
    np.testing.assert_allclose(classifier(folder, reverse=True).score(PROMPTS, TEXTS), -found)


def test_an_encoder_reads_question_and_answer_as_two_texts(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "rm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [tokenizer(p.messages[0].content, str(r)) for p, r in zip(PROMPTS, TEXTS, strict=True)]
    expected = own_outputs(folder, [p["input_ids"] for p in pairs], token_type_ids=[p["token_type_ids"] for p in pairs])
    np.testing.assert_allclose(classifier(folder).score(PROMPTS, TEXTS), expected[:, 0], atol=1e-5)


def test_what_follows_the_closing_token_in_a_template_is_read(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "rm", chat=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = tokenizer.chat_template.replace("</s>", "</s>\n")
    tokenizer.save_pretrained(folder)
    (ids,) = [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]
            )["input_ids"]
        )
    ]
    assert ids[-1] != tokenizer.eos_token_id
    np.testing.assert_allclose(
        classifier(folder).score(PROMPTS[1:2], ["No."]), own_outputs(folder, [ids])[:, 0], atol=1e-5
    )


def log_odds(outputs: Floats, column: int) -> Floats:
    p = np.exp(outputs.astype(np.float64)) / np.exp(outputs.astype(np.float64)).sum(axis=1, keepdims=True)
    return np.asarray(np.log(p[:, column] / (1 - p[:, column])), dtype=np.float32)


def test_outputs_that_exclude_each_other_are_log_odds_and_others_are_raw(tmp_path: Path) -> None:
    labels = {0: "toxic", 1: "neutral", 2: "kind"}
    folder = save_encoder(tmp_path / "classes", 3, id2label=labels, label2id={name: n for n, name in labels.items()})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [tokenizer(p.messages[0].content, str(r)) for p, r in zip(PROMPTS, TEXTS, strict=True)]
    raw = own_outputs(folder, [p["input_ids"] for p in pairs], token_type_ids=[p["token_type_ids"] for p in pairs])
    for column, number in (("kind", 2), (0, 0)):
        found = classifier(folder, column=column).score(PROMPTS, TEXTS)
        np.testing.assert_allclose(found, log_odds(raw, number), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifier(folder, column=2, outputs="raw").score(PROMPTS, TEXTS), raw[:, 2], atol=1e-5)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": "regression"}))
    np.testing.assert_allclose(classifier(folder, column=2).score(PROMPTS, TEXTS), raw[:, 2], atol=1e-5)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_long_texts_fit_and_the_end_of_the_prompt_stays(tmp_path: Path, kind: str) -> None:
    folder = save_decoder(tmp_path / "rm") if kind == "decoder" else save_encoder(tmp_path / "rm")
    model = classifier(folder)
    long = make_prompt("please " * 200 + "how do i bake bread ?")
    early, late = (make_prompt(head + " bake bread " * 100 + tail) for head, tail in (("no", ""), ("", " no")))
    for prompt, response in ((long, "No."), (long, "water " * 200), (make_prompt("Why?"), "water " * 200)):
        encoded = model._encode(prompt, response)["input_ids"]
        assert len(encoded) <= model.max_length
        assert np.isfinite(model.score([prompt], [response])).all()
    plain = make_prompt(" bake bread " * 100)
    first, same, other = model.score([plain, early, late], ["mix flour"] * 3)
    assert first == pytest.approx(same, abs=1e-5)
    assert abs(first - other) > 1e-4


def test_special_tokens_that_are_spelled_out_stay_text(tmp_path: Path) -> None:
    model = classifier(save_encoder(tmp_path / "rm"))
    ids = model._encode(PROMPTS[1], "[SEP] please [SEP]")["input_ids"]
    assert ids.count(3) == 2


def test_several_turns_are_read(tmp_path: Path) -> None:
    prompt = make_prompt([Message("user", "How?"), Message("assistant", "Mix."), Message("user", "Why?")])
    for folder in (save_decoder(tmp_path / "d", chat=True), save_encoder(tmp_path / "e")):
        assert np.isfinite(classifier(folder).score([prompt], ["No."])).all()


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_the_contract_holds(tmp_path: Path, kind: str) -> None:
    folder = save_decoder(tmp_path / "rm") if kind == "decoder" else save_encoder(tmp_path / "rm")
    check_pm_backend(COMPONENT, tiny_base(), tmp_path / "out", {"model": str(folder)})


def test_the_wrong_number_of_outputs_names_column(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "rm", 2, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
    assert label_names(folder) == ["bad", "good"]
    with pytest.raises(UserError, match=r"2 outputs \(0 bad, 1 good\): say by `column`"):
        classifier(folder)
    for column, told in (("god", "Did you mean 'good'"), (2, "column: 2 is none of them")):
        with pytest.raises(UserError, match=told):
            classifier(folder, column=column)
        assert COMPONENT.missing is not None
        with pytest.raises(UserError, match=told):
            list(COMPONENT.missing(PretrainedOptions(model=str(folder), column=column)))
    assert not list(COMPONENT.missing(PretrainedOptions(model=str(folder), column="good")))
    assert chosen_output(["score"], PretrainedOptions(model="x")) == 0


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sequence classifier: it lacks the weights score\.weight"):
        classifier(tiny_base(), column=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        list(COMPONENT.missing(PretrainedOptions(model=str(tmp_path / "empty"))))  # type: ignore[misc]
    folder = save_decoder(tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded as a sequence classifier"):
        classifier(folder)


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "rm", vocab_size=40)
    with pytest.raises(UserError, match="they do not belong together"):
        classifier(folder).score(PROMPTS, TEXTS)


def test_another_model_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    folder, out = save_decoder(tmp_path / "rm"), tmp_path / "out"
    check = {"backend": "pretrained", "fingerprint": "0" * 16}
    (out / "kind").mkdir(parents=True)
    (out / "kind" / "done.json").write_text(json.dumps(check))
    backend = build_pretrained(PretrainedOptions(model=str(folder)))
    with pytest.raises(UserError, match="of another model"):
        backend.load(out, ("kind",), Target(model="none"), BACKBONES)
