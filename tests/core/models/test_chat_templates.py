"""Chat templates that take no system turn, their variables, and reasoning at the start of responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from morlaif_core import (
    Generation,
    Message,
    Policy,
    Target,
    UserError,
    decode,
    encode_pair,
    make_prompt,
    prompt_ids,
    render,
)
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.models.rendering import takes_system
from morlaif_transformers.sampler import TransformersSampler
from tests.helpers.tiny_models import CHAT, save_tiny, tiny_model, tiny_tokenizer

SYSTEM, FIRST, SECOND = Message("system", "Be brief."), Message("user", "Bread?"), Message("user", "How?")
TALK = make_prompt([SYSTEM, FIRST, Message("assistant", "Yes."), SECOND])
FOLDED = "<|user|>Be brief.\n\nBread?</s><|assistant|>Yes.</s><|user|>How?</s><|assistant|>"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
HIDES = CHAT.replace("for m in messages", "for m in messages if m.role != 'system'")
THINKS = CHAT.replace("<|assistant|>{% endif", "<|assistant|>{% if not think %}<think>\n\n</think>{% endif %}{% endif")
QUIET = {"think": False}


def tokenizer_with(template: str) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [REFUSES, HIDES])
def test_a_system_turn_that_a_template_does_not_take_is_put_before_the_users(template: str) -> None:
    tokenizer = tokenizer_with(template)
    assert not takes_system(tokenizer, TALK)
    assert render(tokenizer, TALK) == FOLDED
    assert takes_system(tokenizer, make_prompt([FIRST]))


def test_a_system_turn_stays_where_it_is_taken() -> None:
    tokenizer = tokenizer_with(CHAT)
    assert takes_system(tokenizer, TALK)
    assert render(tokenizer, TALK).startswith("<|system|>Be brief.</s><|user|>Bread?")
    assert takes_system(tiny_tokenizer(), TALK)


def test_a_conversation_that_a_template_refuses_is_a_clear_error() -> None:
    tokenizer = tokenizer_with("{{ raise_exception('roles must alternate') }}")
    for prompt in (TALK, make_prompt([FIRST, SECOND])):
        with pytest.raises(UserError, match=r"roles must alternate.*template: hh"):
            render(tokenizer, prompt)
        assert render(tokenizer, prompt, "hh").endswith("Assistant:")


def test_variables_reach_the_template() -> None:
    tokenizer, prompt = tokenizer_with(THINKS), make_prompt([FIRST])
    assert render(tokenizer, prompt, "auto", {"think": True}).endswith("<|assistant|>")
    assert render(tokenizer, prompt, "auto", QUIET).endswith("</think>")
    ids = prompt_ids(tokenizer, prompt, "auto", {"think": True})
    assert encode_pair(tokenizer, prompt, "Yes", 99, "auto", {"think": True}).ids[: len(ids)] == ids
    with pytest.raises(UserError, match="no chat template; leave"):
        render(tiny_tokenizer(), prompt, "auto", QUIET)
    with pytest.raises(UserError, match="no chat template; say"):
        render(tiny_tokenizer(), prompt, "chat")
    with pytest.raises(UserError, match="does not ask for enable_thinkin;"):
        render(tokenizer, prompt, "auto", {"enable_thinkin": False})


def test_a_scored_response_follows_no_open_reasoning() -> None:
    tokenizer = tokenizer_with(CHAT.replace("<|assistant|>{% endif", "<|assistant|><think>\n{% endif"))
    found = encode_pair(tokenizer, make_prompt([FIRST]), "Yes", 99)
    assert tokenizer.decode(found.ids[: found.start]) == "<|user|>Bread?</s><|assistant|>"
    assert tokenizer.decode(prompt_ids(tokenizer, make_prompt([FIRST]))).endswith("<think>\n")


def test_variables_are_checked_with_the_configuration() -> None:
    with pytest.raises(ValidationError, match="template: hh"):
        Target(model="x", template="hh", chat_template_kwargs=QUIET)
    with pytest.raises(ValidationError, match="add_generation_prompt is set by"):
        Target(model="x", chat_template_kwargs={"add_generation_prompt": False})
    # Or the fingerprints of older runs would change.
    assert "chat_template_kwargs" not in Target(model="x").model_dump()
    assert Target(model="x", chat_template_kwargs=QUIET).model_dump()["chat_template_kwargs"] == QUIET


def test_the_sampler_renders_with_the_targets_variables(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, "llama")
    tokenizer_with(THINKS).save_pretrained(folder)
    backbones, settings = LocalBackbones("cpu", 1), Generation(max_new_tokens=8)
    backbone = backbones.get(Target(model=str(folder)))
    for value in (True, False):
        target = Target(model=str(folder), chat_template_kwargs={"think": value})
        drawn = TransformersSampler(8).sample(
            Policy(target), [make_prompt([FIRST])], n=4, seed=1, generation=settings, backbones=backbones
        )
        ids = prompt_ids(backbone.tokenizer, make_prompt([FIRST]), "auto", {"think": value})
        said = decode(
            backbone.model, backbone.tokenizer, [ids], n=4, max_new_tokens=8, temperature=0.7, stop=(), seed=1
        )
        assert drawn == [tuple(one.text for one in said[0])]


class Parrot(torch.nn.Module):
    """Says one fixed answer of ids below ``words`` after a prompt of ``start`` tokens."""

    def __init__(self, answer: list[int], start: int, words: int) -> None:
        super().__init__()
        self.answer, self.start, self.words, self.inner = answer, start, words, tiny_model("llama")
        self.config, self.device = self.inner.config, torch.device("cpu")

    def forward(self, input_ids: Any, position_ids: Any = None, **given: Any) -> Any:
        output = self.inner(input_ids=input_ids.clamp(max=299), position_ids=position_ids, **given)
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids) if position_ids is None else position_ids
        said = torch.tensor(self.answer)[(places - self.start + 1) % len(self.answer)]
        output.logits = 100.0 * torch.nn.functional.one_hot(said, self.words)[:, -output.logits.shape[1] :]
        return output


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    ("before", "answer", "text", "ended"),
    [
        ("Bread?", "<think>Flour?</think>\n\nYes, bake</s>", "Yes, bake", True),
        ("Bread?", " <think></think>Yes", "Yes", False),
        ("Bread?", "<think>Flour? Water", "", False),
        ("Bread?", "<think>Flour?</s>", "", False),
        ("Bread?<think>\n", "Flour?</think> Yes</s>", "Yes", True),
        ("Bread?<think>\n", "Flour?", "", False),
        ("Bread?<think>\n\n</think>\n\n", "Yes</s>", "Yes", True),
        ("Bread?", "Say <i>x</i></s>", "Say <i>x</i>", True),
    ],
)
def test_reasoning_is_no_part_of_the_text(before: str, answer: str, text: str, ended: bool, special: bool) -> None:
    tokenizer = tiny_tokenizer()
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    prompt, ids = (tokenizer(part)["input_ids"] for part in (before, answer))
    parrot = Parrot(ids, len(prompt), len(tokenizer))
    options: dict[str, Any] = {"n": 2, "max_new_tokens": len(ids), "temperature": 1.0, "stop": (), "seed": 0}
    for one in decode(parrot, tokenizer, [prompt], **options)[0]:
        # Whole, as the policy drew them: PPO needs each one.
        assert one.ids == ids
        assert len(one.logprobs) == len(ids)
        assert one.text == text
        assert one.ended == ended


def test_a_stop_string_in_the_reasoning_ends_nothing() -> None:
    tokenizer = tiny_tokenizer()
    prompt, ids = (tokenizer(part)["input_ids"] for part in ("Bread?", "<think>a\n\nb</think>\n\nYes\n\nNo"))
    parrot = Parrot(ids, len(prompt), len(tokenizer))
    row = decode(parrot, tokenizer, [prompt], n=1, max_new_tokens=len(ids), temperature=1.0, stop=("\n\n",), seed=0)[0]
    assert (row[0].text, row[0].ended) == ("Yes", True)
    assert "No" not in tokenizer.decode(row[0].ids)
