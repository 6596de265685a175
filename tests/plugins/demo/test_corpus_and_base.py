"""The demo's corpus and base model: distinct, mixed, the same each time; a model that loads, speaks and stops."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from morlaif_core import Message, UserError, content_hash, hh_text, render
from morlaif_demo import grammar, morlaif_datasets, morlaif_models
from morlaif_demo.base import DemoBase
from morlaif_demo.corpus import DemoDataset, Question, Row, make_rows
from morlaif_demo.options import DemoBaseOptions, DemoOptions

QUALITIES = ("polite", "on_topic", "specific", "concise", "insulting")
KINDS = (("POLITE",), ("INSULT", "DISMISSIVE"))
SMALL = frozenset(
    """{ask} {x} a about after all alone am and are at by can do for how i in is it me my not of on say tell that the
    there to want what with you""".split()
)


def _dataset(prompts: int = 5000) -> DemoDataset:
    return DemoDataset(DemoOptions(prompts=prompts))


def _texts(prompts: int) -> list[str]:
    pairs = list(_dataset(prompts).preferences("train"))
    return [hh_text((*pair.prompt.messages, Message("assistant", text))) for pair in pairs for text in (pair.a, pair.b)]


def _quiet(step: int, total: int, metrics: Any, *, generate: Any = None) -> Any:
    assert 0 < step <= total
    assert metrics["loss"] > 0
    return "go"


def _make(folder: Path, texts: list[str], seed: int = 0, **options: Any) -> Path:
    DemoBase(DemoBaseOptions(**options)).make(folder, texts, seed=seed, report=_quiet)
    return folder


def test_prompts_are_distinct_and_the_splits_disjoint() -> None:
    data = _dataset()
    train, test = ([prompt.id for prompt in data.prompts(split)] for split in ("train", "test"))
    assert (len(train), len(test)) == (4500, 500)
    assert len({*train, *test}) == 5000
    assert [pair.prompt.id for pair in data.preferences("test")] == test
    assert not data.skipped


def test_as_many_prompts_as_may_be_asked_for_are_there() -> None:
    """Or to draw them would never end."""
    questions = [
        Question(topic, task, thing).ask
        for topic, one in enumerate(grammar.TOPICS)
        for task in range(len(one.tasks))
        for thing in range(len(one.things))
    ]
    parts = itertools.product(grammar.GREETINGS, grammar.FRAMES, questions, grammar.SUFFIXES)
    distinct = {greeting + frame.format(ask=ask) + suffix for greeting, frame, ask, suffix in parts}
    (most,) = [rule.le for rule in DemoOptions.model_fields["prompts"].metadata if hasattr(rule, "le")]
    assert len(distinct) == 17_280
    assert most == 17_280
    with pytest.raises(ValidationError, match="17280"):
        DemoOptions(prompts=most + 1)


def test_corpus_is_the_same_in_another_process_and_made_quickly() -> None:
    imports = "from morlaif_demo.corpus import make_rows; from morlaif_core import content_hash"
    code = f"{imports}; print(content_hash(repr(make_rows(300))))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment("7")
    )
    assert run.stdout.strip() == content_hash(repr(make_rows(300)))
    assert make_rows(300) == make_rows(400)[:300]
    make_rows.cache_clear()
    start = time.process_time()
    make_rows(5000)
    assert time.process_time() - start < 5


def _environment(hash_seed: str) -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_each_quality_is_mixed_by_half_and_apart_from_the_others() -> None:
    answers = [answer.qualities for row in make_rows(5000) for answer in (row.a, row.b)]
    columns = {name: [float(getattr(answer, name)) for answer in answers] for name in QUALITIES}
    for name, column in columns.items():
        assert abs(statistics.mean(column) - 0.5) < 0.02, name
        for other in QUALITIES:
            if other != name:
                assert abs(statistics.correlation(column, columns[other])) < 0.04, (name, other)


def test_answers_are_short_and_show_what_they_are() -> None:
    for row in make_rows(500):
        question = row.prompt.messages[0].content
        assert row.question.ask in question
        for answer in (row.a, row.b):
            quality = answer.qualities
            assert 5 <= len(answer.text.split()) <= 40
            assert _holds(answer.text, grammar.POLITE_OPENERS + grammar.POLITE_CLOSERS) == quality.polite
            assert (_thing(row) in answer.text) == quality.on_topic
            assert any(stem.split("{")[0] in answer.text for stem in grammar.DECLINES) != quality.specific


def _holds(text: str, sentences: tuple[str, ...]) -> bool:
    return any(sentence in text for sentence in sentences)


def _thing(row: Row) -> str:
    return grammar.TOPICS[row.question.topic].things[row.question.thing]


def test_good_manners_and_fitting_answers_are_preferred() -> None:
    for row in make_rows(500):
        difference = row.a.qualities.utility - row.b.qualities.utility
        preference = row.preference
        assert 0 < preference.p_a < 1
        assert (preference.p_a > 0.5) == (difference > 0)
        assert (preference.p_a == 0.5) == (difference == 0)


def test_words_of_questions_manners_and_advice_do_not_mix() -> None:
    """Or a measure of one quality would move with another."""
    frames = _words(*grammar.GREETINGS, *grammar.FRAMES, *grammar.SUFFIXES)
    good, bad = (
        (getattr(grammar, f"{kind}_{place}") for kind in kinds for place in ("OPENERS", "CLOSERS")) for kinds in KINDS
    )
    manners = _words(*(text for texts in (*good, *bad) for text in texts))
    advice = _words(*(text for topic in grammar.TOPICS for task in topic.tasks for text in (task.ask, *task.tips)))
    padding = _words(
        *grammar.ANSWERS, *grammar.SECOND_TIPS, *grammar.FILLERS, *grammar.DECLINES, *grammar.SECOND_DECLINES
    )
    assert not (frames & advice | frames & manners | frames & padding | manners & advice | padding & advice) - SMALL


def _words(*texts: str) -> set[str]:
    return {word.strip(".,?").lower() for text in texts for word in text.split()}


def test_a_quick_base_model_loads_and_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = _texts(60)
    one, two = (_make(tmp_path / name, texts, steps=5, width=32, vocabulary=400) for name in "ab")
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
    other = _make(tmp_path / "c", texts, seed=1, steps=5, width=32, vocabulary=400)
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(one), AutoTokenizer.from_pretrained(one)
    assert tokenizer.chat_template is None
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|pad|>")
    assert len(tokenizer) <= model.config.vocab_size == 400
    assert {model.config.eos_token_id, model.config.pad_token_id} == {tokenizer.eos_token_id, tokenizer.pad_token_id}
    text = texts[0] + " Ünïcode, 中文 and\nlines"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_making_a_model_leaves_the_global_generator_and_the_threads_alone(tmp_path: Path) -> None:
    import torch

    state, threads = torch.get_rng_state(), torch.get_num_threads()
    _make(tmp_path / "m", _texts(40), steps=2, width=16, heads=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_texts_that_are_few_long_or_not_conversations_are_learnt_too(tmp_path: Path) -> None:
    assert (
        _make(tmp_path / "m", ["no heads at all " * 50, "a"], steps=3, width=16, heads=2, context=32) / "config.json"
    ).exists()


def test_no_texts_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text to learn from"):
        _make(tmp_path / "m", ["", " \n"])


def test_heads_must_divide_width() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        DemoBaseOptions(width=96, heads=5)


def test_offers_are_named_and_described() -> None:
    data, model = morlaif_datasets()[0], morlaif_models()[0]
    assert (data.name, model.name) == ("demo", "demo-base")
    assert "labels" in data.supplies
    assert model.build(DemoBaseOptions()).identity


@pytest.mark.slow(seconds=22)
def test_the_base_model_answers_in_whole_sentences_and_stops(tmp_path: Path) -> None:
    """With the default options: about half of the answers fit the question, nearly all end by eos."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = _make(tmp_path / "m", _texts(5000))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows = _dataset().rows("test")[:200]
    tokenizer.padding_side = "left"
    batch = tokenizer([render(tokenizer, row.prompt) for row in rows], return_tensors="pt", padding=True)
    torch.manual_seed(0)
    batch.pop("token_type_ids", None)
    out = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=40)
    new = out[:, batch["input_ids"].shape[1] :]
    answers = [tokenizer.decode(ids, skip_special_tokens=True) for ids in new]
    assert sum(tokenizer.eos_token_id in ids.tolist() for ids in new) / len(rows) > 0.9
    assert 0.3 < sum(_thing(row) in answer for row, answer in zip(rows, answers, strict=True)) / len(rows) < 0.7
    assert (
        0.3
        < sum(_holds(answer, grammar.POLITE_OPENERS + grammar.POLITE_CLOSERS) for answer in answers) / len(rows)
        < 0.7
    )
