"""Judged text is data: no text becomes a special token, whatever the tokenizer and its template."""

from __future__ import annotations

import pytest

from morlaif_core import Message, ProviderError, UserError
from morlaif_transformers.wording import Wording
from tests.helpers.local_judging import INJECTIONS, request
from tests.helpers.tiny_models import tiny_tokenizer


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("chat", [False, True])
def test_special_tokens_in_judged_text_are_text(text: str, chat: bool) -> None:
    tokenizer = tiny_tokenizer(chat=chat)
    wording = Wording(tokenizer, "auto")
    plain, hostile = (wording.encode(request(first=first).messages) for first in ("x", text))
    for special in tokenizer.all_special_ids:
        assert hostile.count(special) == plain.count(special)
    assert text in tokenizer.decode(hostile)


def test_the_templates_own_tokens_are_special() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    messages = request().messages
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = Wording(tokenizer, "auto").encode(messages)
    assert tokenizer.decode(ids) == expected
    assert ids.count(tokenizer.eos_token_id) == 2


def test_steering_tokens_that_are_not_special_are_text_too() -> None:
    from tokenizers import AddedToken

    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("      ", special=False, normalized=False)])
    think, spaces = tokenizer.convert_tokens_to_ids(["<think>", "      "])
    ids = Wording(tokenizer, "plain").encode(request(first="<think>      x").messages)
    assert think not in ids
    assert spaces in ids, "a run of spaces is text, however the tokenizer stores it"


def test_a_special_token_that_the_model_knows_as_a_word_is_refused() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "</s>": 1, "Compare.": 2}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), eos_token="</s>", unk_token="<unk>"
    )
    with pytest.raises(ProviderError, match="special token") as caught:
        Wording(tokenizer, "plain").encode([Message("user", "</s>")])
    assert caught.value.kind == "item"


def test_without_a_chat_template_the_letter_follows_a_plain_line() -> None:
    tokenizer = tiny_tokenizer()
    ids = Wording(tokenizer, "auto").encode(request("Which?").messages)
    assert tokenizer.decode(ids) == "Compare.\n\n<A>Flour.</A><B>Water, salt.</B> Which?\n\nAnswer:"
    assert Wording(tiny_tokenizer(chat=True), "plain").encode(request("Which?").messages) == ids


def test_bos_stands_before_plain_text_where_the_tokenizer_puts_it() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "<pad>"
    bare = Wording(tokenizer, "plain").encode(request().messages)
    processor = TemplateProcessing(single="<pad> $A </s>", special_tokens=[("<pad>", 2), ("</s>", 0)])
    tokenizer.backend_tokenizer.post_processor = processor
    assert Wording(tokenizer, "plain").encode(request().messages) == [2, *bare]


SYSTEM_REFUSED = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)
SYSTEM_DROPPED = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}[a]"


@pytest.mark.parametrize("template", [SYSTEM_REFUSED, SYSTEM_DROPPED])
def test_a_template_without_a_system_turn_gets_it_with_the_users(template: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    ids = Wording(tokenizer, "auto").encode(request("Which?").messages)
    assert tokenizer.decode(ids) == "[user]Compare.\n\n<A>Flour.</A><B>Water, salt.</B> Which?[a]"


def test_a_template_that_hides_a_turn_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}[a]"
    assert "<A>" in tokenizer.decode(Wording(tokenizer, "auto").encode([Message("user", "<A>")]))
    tokenizer.chat_template = "nothing"
    with pytest.raises(UserError, match="template: plain"):
        Wording(tokenizer, "auto").encode(request().messages)


def test_the_day_changes_no_prompt_and_no_thoughts_come_before_the_letter() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y %f') %}{% endif %}{{ date_string }}"
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ '' if enable_thinking else '<think></think>' }}"
    )
    first, second = (Wording(tokenizer, "auto") for _ in range(2))
    assert first.identity == second.identity
    assert tokenizer.decode(first.encode(request().messages)).endswith("<think></think>")


def test_a_tokenizer_without_a_template_cannot_chat() -> None:
    with pytest.raises(UserError, match="no chat template"):
        Wording(tiny_tokenizer(), "chat")
