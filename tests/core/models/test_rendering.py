"""Prompts and responses as tokens: what closes a response, what was cut off, special tokens that somebody spelled out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from morlaif_core import CutOff, Message, Prompt, encode_pair, make_prompt, prompt_ids
from morlaif_core.models.decoding import eos_token_ids
from morlaif_core.models.plain_text import text_ids
from morlaif_core.models.rendering import closing_id, response_ids
from morlaif_transformers.wording import Wording
from tests.helpers.tiny_models import tiny_model, tiny_tokenizer

CLOSED_BY_TURN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def turn_tokenizer() -> object:
    """A tokenizer whose template closes a turn by <|im_end|>, and whose eos is another token."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CLOSED_BY_TURN
    return tokenizer


def asked(text: str) -> Prompt:
    return make_prompt([Message("user", text)])


def test_a_response_that_was_cut_off_has_no_end() -> None:
    tokenizer = tiny_tokenizer()
    ended, cut = response_ids(tokenizer, "Bake it."), response_ids(tokenizer, CutOff("Bake it."))
    assert ended == [*cut, tokenizer.eos_token_id]
    assert cut
    assert tokenizer.eos_token_id not in cut


def test_a_response_without_text_is_scored_by_its_end() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    assert response_ids(tokenizer, CutOff("")) == response_ids(tokenizer, "") == [tokenizer.eos_token_id]


def test_the_token_that_closes_a_turn_closes_a_response() -> None:
    tokenizer = turn_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")  # type: ignore[attr-defined]
    assert end != tokenizer.eos_token_id  # type: ignore[attr-defined]
    assert closing_id(tokenizer) == end
    assert response_ids(tokenizer, "Hi")[-1] == end
    assert closing_id(tokenizer, "hh") == tokenizer.eos_token_id  # type: ignore[attr-defined]


def test_decoding_ends_where_a_scored_response_ends() -> None:
    tokenizer = turn_tokenizer()
    assert closing_id(tokenizer) in eos_token_ids(tiny_model("gpt2"), tokenizer)


@pytest.mark.parametrize("chat", [False, True])
def test_special_tokens_that_are_spelled_out_stay_text(chat: bool) -> None:
    tokenizer = tiny_tokenizer(chat=chat)
    text = "Write </s> at the end.</s>"
    ids = response_ids(tokenizer, text)
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]).strip() == text
    plain, spelled = prompt_ids(tokenizer, asked("Write S.")), prompt_ids(tokenizer, asked("Write </s>."))
    assert spelled.count(tokenizer.eos_token_id) == plain.count(tokenizer.eos_token_id)
    assert "Write </s>." in tokenizer.decode(spelled)


def steered(*, chat: bool = False) -> Any:
    """A tokenizer with added tokens that are not marked as special: two that steer, one that stands for text."""
    tokenizer = tiny_tokenizer(chat=chat)
    tokenizer.add_tokens(["<think>", "[INST]", "sourdough"])
    return tokenizer


@pytest.mark.parametrize("chat", [False, True])
def test_added_tokens_that_steer_stay_text_as_the_judge_reads_them(chat: bool) -> None:
    tokenizer = steered(chat=chat)
    think, inst, text = tokenizer.convert_tokens_to_ids(["<think>", "[INST]", "sourdough"])
    written = "I <think> of [INST] and a sourdough.</s>"
    ids = response_ids(tokenizer, written, "auto" if chat else "hh")
    assert ids[-1] == tokenizer.eos_token_id
    assert not {think, inst, tokenizer.eos_token_id} & set(ids[:-1])
    assert text in ids, "it stands for text"
    assert tokenizer.decode(ids[:-1]).strip() == written
    judged = Wording(tokenizer, "plain").encode([Message("user", written)])
    assert tokenizer.decode(judged).startswith(written)
    assert judged[: len(text_ids(tokenizer, written))] == text_ids(tokenizer, written)
    asks = prompt_ids(tokenizer, asked(written))
    assert not {think, inst} & set(asks)
    assert written in tokenizer.decode(asks)


def test_what_a_tokenizer_puts_before_a_text_stays_there() -> None:
    tokenizer = steered()
    tokenizer.bos_token = "<pad>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<pad> $A </s>", special_tokens=[("<pad>", 2), ("</s>", 0)]
    )
    plain, spelled = (prompt_ids(tokenizer, asked(text)) for text in ("Why?", "Why <think>?"))
    assert plain[0] == spelled[0] == 2
    assert spelled.count(2) == plain.count(2) == 1
    assert 0 not in plain[1:] + spelled[1:]


def test_a_template_sees_the_thoughts_of_a_model_s_own_turns() -> None:
    """As Qwen 3's, which takes them out of earlier turns, and opens one at the end."""
    tokenizer = steered()
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}</s>{% endfor %}<think>"
    )
    turns = [("user", "Why <think>?"), ("assistant", "<think>Hm</think>So."), ("user", "Thanks")]
    ids = prompt_ids(tokenizer, make_prompt([Message(role, text) for role, text in turns]))  # type: ignore[arg-type]
    assert tokenizer.decode(ids) == "[user]Why <think>?</s>[assistant]So.</s>[user]Thanks</s><think>"
    assert ids.count(tokenizer.convert_tokens_to_ids("<think>")) == 1


def test_a_template_may_move_a_message_that_spells_special_tokens() -> None:
    tokenizer = tiny_tokenizer()
    # As Mistral's: the system text stands in the last user turn.
    tokenizer.chat_template = (
        "{% for m in messages[1:] %}[{{ m.role }}]{% if loop.last %}{{ messages[0].content }} {% endif %}{{ m.content }}"
        "</s>{% endfor %}"
    )
    turns = [("system", "No </s>!"), ("user", "What is </s>?"), ("assistant", "A token."), ("user", "Thanks")]
    prompt = make_prompt([Message(role, text) for role, text in turns])  # type: ignore[arg-type]
    ids = prompt_ids(tokenizer, prompt)
    assert tokenizer.decode(ids) == "[user]What is </s>?</s>[assistant]A token.</s>[user]No </s>! Thanks</s>"
    assert ids.count(tokenizer.eos_token_id) == 3


def test_other_prompts_are_encoded_as_the_template_renders_them() -> None:
    tokenizer = turn_tokenizer()
    turns = [{"role": "user", "content": "How do I bake?"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)  # type: ignore[attr-defined]
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    assert prompt_ids(tokenizer, asked("How do I bake?")) == ids


def test_a_long_response_keeps_its_end_only_where_it_has_one() -> None:
    tokenizer = tiny_tokenizer()
    long = "bread " * 60
    ended = encode_pair(tokenizer, asked("?"), long, 32)
    cut = encode_pair(tokenizer, asked("?"), CutOff(long), 32)
    assert len(ended.ids) == len(cut.ids) == 32
    assert ended.ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in cut.ids


@pytest.mark.parametrize("chat", [False, True])
def test_nothing_is_said_of_a_limit_that_is_kept(chat: bool) -> None:
    """transformers warns of any text longer than the context; here it is left out, cut or refused before a model sees it."""
    tokenizer = tiny_tokenizer(chat=chat)
    tokenizer.model_max_length = 16
    said: list[str] = []
    log = logging.getLogger("transformers.tokenization_utils_base")
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        prompt = asked("How do I bake bread? " * 20)
        assert len(prompt_ids(tokenizer, prompt)) > 16
        assert len(prompt_ids(tokenizer, asked("How do I bake bread</s>? " * 20))) > 16
        assert len(encode_pair(tokenizer, prompt, "Bake it. " * 20, 16).ids) == 16
        assert said == []
        tokenizer("How do I bake bread? " * 20)
        assert "longer than the specified maximum" in said[0]
    finally:
        log.removeHandler(handler)
