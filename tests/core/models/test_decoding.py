"""Decoding: equal to generate in the greedy limit, log-probabilities of a full forward, deterministic, stops."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from transformers import LlamaConfig

from morlaif_core import Decoded, Generation, UserError, decode, ended, stop_strings
from morlaif_core.models.decoding import draw, eos_token_ids
from tests.helpers.tiny_models import FAMILIES, tiny_model, tiny_tokenizer

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [20], [30, 31, 32, 33]]


def run(model: Any, prompts: list[list[int]] = PROMPTS, **changes: Any) -> list[list[Decoded]]:
    options = {"n": 3, "max_new_tokens": 16, "temperature": 1.0, "stop": (), "seed": 4} | changes
    return decode(model, tiny_tokenizer(), prompts, **options)


def ids(rows: list[list[Decoded]]) -> list[list[list[int]]]:
    return [[item.ids for item in row] for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_that_are_no_numbers_are_a_clear_error(family: str) -> None:
    model = tiny_model(family)
    next(iter(model.parameters())).data.fill_(float("nan"))
    with pytest.raises(UserError, match="no numbers"):
        run(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_greedy_limit_is_generate(family: str) -> None:
    model, tokenizer = tiny_model(family), tiny_tokenizer()
    width = max(map(len, PROMPTS))
    batch = torch.tensor([[2] * (width - len(p)) + p for p in PROMPTS])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS])
    expected = model.generate(batch, attention_mask=mask, do_sample=False, max_new_tokens=16, pad_token_id=2)
    for row, want in zip(run(model, n=2, temperature=1e-5), expected[:, width:].tolist(), strict=True):
        for item in row:
            assert item.ids == want[: len(item.ids)]
            assert item.ended == (item.ids[-1] == tokenizer.eos_token_id)
            assert item.ended or len(item.ids) == 16
            assert ended(item.text) == item.ended


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probabilities_are_those_of_a_full_forward(family: str, temperature: float) -> None:
    model = tiny_model(family)
    for prompt, row in zip(PROMPTS, run(model, temperature=temperature), strict=True):
        for item in row:
            logits = model(torch.tensor([prompt + item.ids])).logits[0, len(prompt) - 1 : -1].float()
            full = torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(item.ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(item.logprobs), full, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_call_same_result_whatever_the_batch(family: str) -> None:
    model = tiny_model(family)
    before = torch.get_rng_state()
    first = run(model)
    assert first == run(model)
    assert torch.equal(before, torch.get_rng_state())
    assert ids(first) != ids(run(model, seed=5))
    for batch in (1, 3, 6, 7):
        assert ids(run(model, batch=batch)) == ids(first)
    assert len({tuple(item.ids) for row in first for item in row}) > len(PROMPTS)


def test_ended_rows_leave_and_the_others_do_not_notice() -> None:
    model = tiny_model("llama")
    ends = tuple(range(0, 300, 7))
    free, ended = run(model, eos_ids=(), n=8), run(model, eos_ids=ends, n=8)
    assert {item.ended for row in ended for item in row} == {True, False}
    for long, short in zip(chain.from_iterable(free), chain.from_iterable(ended), strict=True):
        assert long.ids[: len(short.ids)] == short.ids
        assert short.ended == (short.ids[-1] in ends)
        assert not any(token in ends for token in short.ids[:-1])
        assert not long.ended
        assert len(long.ids) == 16


class Parrot(torch.nn.Module):
    """Says one fixed answer after any prompt: a causal LM's interface without its weights."""

    def __init__(self, answer: list[int]) -> None:
        super().__init__()
        self.answer = answer
        self.config = LlamaConfig(vocab_size=len(tiny_tokenizer()))
        self.device = torch.device("cpu")

    def forward(self, input_ids: Any, position_ids: Any = None, past_key_values: Any = None, **_: Any) -> Any:
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids) if position_ids is None else position_ids
        said = torch.tensor(self.answer)[places % len(self.answer)]
        logits = 100.0 * torch.nn.functional.one_hot(said, self.config.vocab_size)
        if past_key_values is not None:
            states = torch.zeros(len(input_ids), 1, input_ids.shape[1], 2)
            past_key_values.update(states, states, 0)
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize("text", [" Bake.\n\nHuman: more", " Bäke it. \n\nHuman: ünd", " Bake\n\nHuman:"])
def test_a_stop_string_is_cut_and_ends(text: str) -> None:
    tokenizer = tiny_tokenizer()
    answer = tokenizer(text)["input_ids"]
    row = run(Parrot(answer), [[5]], n=2, stop=("\n\nHuman:",), max_new_tokens=len(answer))[0]
    for item in row:
        assert item.ended
        assert item.text == text.split("\n\nHuman:", maxsplit=1)[0].strip()
        said = tokenizer.decode(item.ids)
        assert "\n\nHuman:" in said
        assert "\n\nHuman:" not in tokenizer.decode(item.ids[:-1])


@given(st.text(min_size=1, max_size=4), st.text(max_size=8), st.text(max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_stop_string_is_found_once_it_is_complete(stop: str, before: str, after: str) -> None:
    tokenizer = tiny_tokenizer()
    answer = tokenizer(before + stop + after)["input_ids"]
    said = tokenizer.decode(answer, clean_up_tokenization_spaces=False)
    item = run(Parrot(answer), [[5]], n=1, stop=(stop,), max_new_tokens=len(answer), eos_ids=())[0][0]
    assert item.ended == (stop in said)
    assert stop not in item.text


def test_eos_is_kept_in_ids_and_left_out_of_the_text() -> None:
    tokenizer = tiny_tokenizer()
    answer = [*tokenizer(" Mix flour.")["input_ids"], 0, 5]
    item = run(Parrot(answer), [[5]], n=1, max_new_tokens=len(answer))[0][0]
    assert item.ids == answer[:-1]
    assert item.text == "Mix flour."
    assert item.ended


def test_training_mode_comes_back_and_dropout_is_off() -> None:
    model = tiny_model("gpt2").train()
    assert run(model) == run(model.eval())
    model.train()
    run(model)
    assert model.training


def test_too_long_a_prompt_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="128 positions"):
        run(tiny_model("gpt2"), [[5] * 120])
    with pytest.raises(ValueError, match="empty"):
        run(tiny_model("gpt2"), [[]])


def test_stop_strings_follow_the_template() -> None:
    plain, chat = tiny_tokenizer(), tiny_tokenizer(chat=True)
    assert stop_strings(Generation(), plain, "auto") == ("\n\nHuman:",)
    assert stop_strings(Generation(), chat, "auto") == ()
    assert stop_strings(Generation(), chat, "hh") == ("\n\nHuman:",)
    assert stop_strings(Generation(stop=("x",)), chat, "auto") == ("x",)


def test_every_eos_of_the_model_counts() -> None:
    model = tiny_model("llama")
    model.generation_config.eos_token_id = [7, 9]
    assert eos_token_ids(model, tiny_tokenizer()) == (0, 7, 9)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_a_draw_inverts_the_cumulative_distribution(uniform: float, seed: int) -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 3
    logits[0, 40:] = -torch.inf
    token, logprob = draw(logits, torch.tensor([uniform], dtype=torch.float64), 0.8)
    probs = torch.softmax(logits.double() / 0.8, -1)[0]
    below = probs[: int(token)].sum()
    assert token < 40
    assert below - 1e-5 <= uniform <= below + probs[int(token)] + 1e-5
    assert abs(float(logprob) - float(probs[int(token)].log())) < 1e-4


def test_frequencies_are_those_of_the_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens, _ = draw(logits.expand(20_000, 4), uniform, 0.5)
    share = torch.bincount(tokens, minlength=4) / 20_000
    torch.testing.assert_close(share, torch.softmax(logits[0] / 0.5, -1), atol=0.01, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_what_the_head_read(family: str) -> None:
    """Of ended rows too, whatever the batch; without being asked for, none are kept and nothing stays on the model."""
    model = tiny_model(family)
    body = getattr(model, model.base_model_prefix)
    for batch in (None, 3):
        found = run(model, states=True, batch=batch, eos_ids=tuple(range(0, 300, 7)))
        for prompt, row in zip(PROMPTS, found, strict=True):
            for item in row:
                with torch.no_grad():
                    states = body(torch.tensor([prompt + item.ids]))[0][0, len(prompt) - 1 : -1]
                torch.testing.assert_close(item.states, states, atol=1e-4, rtol=0)
    assert run(model)[0][0].states is None
    assert not model.get_output_embeddings()._forward_pre_hooks
