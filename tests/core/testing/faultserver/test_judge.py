"""What the fault server's judge says: known preference, injected bias, and every form of a verdict, through real SDKs."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import openai
import pytest
from hypothesis import given, strategies as st

from morlaif_core import Answer
from morlaif_core.feedback.answers.reading import read_answer, read_joint
from morlaif_core.feedback.answers.verdict import sigmoid
from morlaif_core.feedback.types import Mode
from morlaif_core.testing.faultserver import KnownPreference, fault_server, label_tokens
from morlaif_core.testing.faultserver.simulated.schema import Verdict, fill
from tests.helpers.sdk_requests import (
    QUESTION,
    anthropic_of,
    ask,
    chat_body,
    message_body,
    openai_of,
    schema_of,
    text_body,
    turns,
)

KNOWN = KnownPreference(seed=5)
Q = KNOWN.log_odds("With yeast.", "No.", QUESTION)
QUESTIONS = ("Which is kinder?", QUESTION, "Which is longer?")


def constant(p: float) -> Any:
    return lambda first, second, question: p


def read(completion: Any, mode: Mode, abstain: bool = False) -> Any:
    """Read a completion as the project does."""
    choice = completion.choices[0]
    positions = choice.logprobs.content if choice.logprobs else ()
    tops = tuple({top.token: top.logprob for top in position.top_logprobs} for position in positions)
    tokens = tuple(position.token for position in positions)
    return read_answer(Answer(choice.message.content, top_logprobs=tops, tokens=tokens), mode, abstain=abstain)


def form(mode: Mode, n: int = 1, abstain: bool = False) -> dict[str, Any]:
    """Return OpenAI's form of a schema."""
    schema = {"name": "verdict", "strict": True, "schema": schema_of(mode, n, abstain)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


@pytest.mark.parametrize("bias", [-2.0, 0.0, 4.0])
def test_log_probabilities_hold_preference_and_bias(bias: float) -> None:
    with fault_server(KNOWN, bias=bias, mass=0.9) as server:
        client = openai_of(server).chat.completions
        there = read(client.create(**chat_body(turns())), "logprob")
        back = read(client.create(**chat_body(turns("No.", "With yeast."))), "logprob")
        few = client.create(**chat_body(turns(), top_logprobs=3)).choices[0].logprobs
    assert (there.logit, back.logit) == (pytest.approx(Q + bias), pytest.approx(-Q + bias))
    assert there.mass == pytest.approx(0.9)
    assert few is not None
    assert [len(position.top_logprobs) for position in few.content or ()] == [3]


@given(st.text(), st.text(), st.text(), st.integers(0, 3))
def test_a_known_preference_is_antisymmetric(first: str, second: str, question: str, seed: int) -> None:
    known = KnownPreference(seed, spread=3.0)
    assert known.log_odds(first, second, question) == -known.log_odds(second, first, question)
    assert known(first, second, question) == pytest.approx(1 - known(second, first, question))


def test_a_known_preference_has_its_spread_and_depends_on_the_question() -> None:
    values = [KnownPreference(1, spread=2.0).log_odds(f"a {n}", f"b {n}", "q") for n in range(4000)]
    assert math.sqrt(sum(v * v for v in values) / 4000) == pytest.approx(2.0, rel=0.05)
    others = [KnownPreference(1, spread=2.0).log_odds(f"a {n}", f"b {n}", "r") for n in range(4000)]
    assert abs(sum(x * y for x, y in zip(values, others, strict=True)) / 4000 / 4) < 0.05
    assert KnownPreference(2)("a", "b", "q") != KnownPreference(1)("a", "b", "q")


@given(st.floats(0, 1), st.floats(0.05, 1))
def test_the_tokens_of_a_position_are_a_distribution(first: float, mass: float) -> None:
    tokens = dict(label_tokens({"A": first, "B": 1 - first}, mass))
    assert sum(map(math.exp, tokens.values())) == pytest.approx(1)
    labels = sum(math.exp(p) for token, p in tokens.items() if token in ("A", " A", "**A", "B", " B", "**B"))
    assert labels == pytest.approx(mass)


@pytest.mark.parametrize(("q", "bias"), [(0.5, 0.0), (0.5, -2.0), (-1.0, 2.0)])
@pytest.mark.parametrize("mode", ["text", "structured", "joint"])
def test_hard_verdicts_are_drawn_by_preference_and_bias(q: float, bias: float, mode: Mode) -> None:
    n = 1000
    more = {} if mode == "text" else form(mode)
    with fault_server(constant(sigmoid(q)), bias=bias) as server:
        body = text_body(turns(mode=mode), n=n, temperature=1.0, **more)
        said = [choice.message.content for choice in openai_of(server).chat.completions.create(**body).choices]
        likelier = openai_of(server).chat.completions.create(**text_body(turns(mode=mode), temperature=0, **more))
    key = {"structured": "verdict", "joint": "1"}.get(mode)
    letters = [json.loads(text)[key] if key else text for text in said]
    p = sigmoid(q + bias)
    assert set(letters) == {"A", "B"}
    assert letters.count("A") / n == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))
    text = likelier.choices[0].message.content
    assert (json.loads(text)[key] if key else text) == ("A" if p > 0.5 else "B")


def test_anthropic_draws_too_where_no_temperature_is_given() -> None:
    with fault_server(constant(0.7)) as server:
        client = anthropic_of(server).messages
        said = [client.create(**message_body(turns())).content[0].text for _ in range(200)]
    assert Counter(said)["A"] / 200 == pytest.approx(0.7, abs=0.13)


def test_a_retry_gets_the_draw_that_the_lost_answer_had() -> None:
    def letters(server: Any, **more: Any) -> str:
        said, create = "", openai_of(server).chat.completions.create
        while len(said) < 30:
            try:
                said += create(**text_body(turns(), **more)).choices[0].message.content
            except (openai.InternalServerError, json.JSONDecodeError):
                pass
        return said

    faulty = {0: "error_500", 2: "broken_json", 3: "error_500", 7: "broken_json"}
    with fault_server(constant(0.5)) as quiet, fault_server(constant(0.5), faults=faulty) as noisy:
        assert letters(quiet) == letters(noisy)
        assert len(set(letters(quiet, seed=4))) == 1
    with fault_server(constant(0.5), redraws=False) as fixed, fault_server(constant(0.5), seed=1) as other:
        assert len(set(letters(fixed))) == 1
        assert set(letters(other)) == {"A", "B"}


@pytest.mark.parametrize("abstain", [False, True])
def test_a_rationale_comes_before_the_verdicts_log_probabilities(abstain: bool) -> None:
    body = text_body(turns(mode="rationale", abstain=abstain), logprobs=True, top_logprobs=20, temperature=0)
    with fault_server(KNOWN, bias=1.0) as server:
        completion = openai_of(server).chat.completions.create(**body)
        cut = openai_of(server).chat.completions.create(**body | {"max_completion_tokens": 5})
        plain = anthropic_of(server).messages.create(
            **message_body(turns(mode="rationale"), extra_body={"temperature": 0})
        )
    choice = completion.choices[0]
    letter = "A" if Q + 1 > 0 else "B"
    rationale, _, last = choice.message.content.rpartition("\n")
    assert rationale.startswith("A careful reading")
    assert (last, choice.finish_reason) == (f"Verdict: {letter}", "stop")
    assert "".join(position.token for position in choice.logprobs.content) == choice.message.content
    reading = read(completion, "rationale", abstain)
    assert (reading.status, reading.logit) == ("ok", pytest.approx(Q + 1))
    assert (cut.choices[0].finish_reason, read(cut, "rationale").status) == ("length", "parse_error")
    assert plain.content[0].text == choice.message.content


@pytest.mark.parametrize("by", ["format", "tool"])
def test_anthropic_follows_a_schema_by_format_or_tool(by: str) -> None:
    schema = schema_of("joint", 3)
    tool = {"name": "judge", "input_schema": schema}
    more: dict[str, Any] = {
        "format": {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        "tool": {"tools": [tool], "tool_choice": {"type": "tool", "name": "judge"}},
    }[by]
    with fault_server(KNOWN, faults={1: "length", 2: "refusal"}) as server:
        client, messages = anthropic_of(server).messages, turns(questions=QUESTIONS, mode="joint")
        said, cut, refused = (
            client.create(**message_body(messages, extra_body={"temperature": 0}, **more)) for _ in range(3)
        )
    block = said.content[0]
    answered = block.input if by == "tool" else json.loads(block.text)
    q = [KNOWN.log_odds("With yeast.", "No.", question) for question in QUESTIONS]
    assert answered == {str(i): "A" if value > 0 else "B" for i, value in enumerate(q, 1)}
    assert said.stop_reason == ("tool_use" if by == "tool" else "end_turn")
    assert (cut.stop_reason, refused.stop_reason) == ("max_tokens", "refusal")


def test_a_structured_verdict_has_its_rationale_before_and_its_confidence_after() -> None:
    with fault_server(constant(0.8)) as server:
        completion = openai_of(server).chat.completions.create(
            **text_body(turns(mode="structured"), temperature=0, **form("structured"))
        )
    said = json.loads(completion.choices[0].message.content)
    assert list(said) == ["rationale", "verdict", "confidence"]
    assert (said["verdict"], said["confidence"]) == ("A", 0.8)
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 5


def test_does_not_apply_is_said_in_every_mode_where_it_is_offered() -> None:
    def off_topic(prompt: str, first: str, second: str, question: str) -> bool:
        assert (prompt, first) == ("How do I bake bread?", "With yeast.")
        return question == QUESTION

    with fault_server(KNOWN, abstains=off_topic) as server:
        create = openai_of(server).chat.completions.create
        for mode in ("logprob", "rationale", "text", "structured"):
            logprobs = mode in ("logprob", "rationale")
            more = form(mode, abstain=True) if mode == "structured" else {}
            body = text_body(turns(mode=mode, abstain=True), temperature=0, **more)
            body |= {"logprobs": True, "top_logprobs": 20} if logprobs else {}
            assert read(create(**body), mode, abstain=True).status == "not_applicable", mode
        applies = read(
            create(**chat_body(turns(questions=["Which is kinder?"], abstain=True))), "logprob", abstain=True
        )
        unasked = read(create(**chat_body(turns())), "logprob")
        joint = create(
            **text_body(turns(questions=QUESTIONS, mode="joint", abstain=True), temperature=0, **form("joint", 3, True))
        )
    assert (applies.status, unasked.status) == ("ok", "ok")
    assert applies.logit == pytest.approx(KNOWN.log_odds("With yeast.", "No.", "Which is kinder?"))
    readings = read_joint(Answer(joint.choices[0].message.content), 3, abstain=True)
    assert [reading.status for reading in readings] == ["ok", "not_applicable", "ok"]


def test_ties_and_spellings() -> None:
    with fault_server(constant(0.55), ties=0.3, spellings=((" {}.", 0.7), ("{}", 0.3))) as server:
        create = openai_of(server).chat.completions.create
        tie = create(**text_body(turns(mode="structured"), **form("structured")))
        letter = create(**chat_body(turns()))
    assert json.loads(tie.choices[0].message.content)["verdict"] == "tie"
    assert letter.choices[0].message.content == " A."
    assert read(letter, "logprob").logit == pytest.approx(math.log(0.55 / 0.45))


def test_schemas_of_other_shapes_are_filled_in() -> None:
    verdicts = [Verdict("A", 0.9, "A"), Verdict("C", 0.9, "B"), Verdict("tie", 0.5, "A")]
    entry = {"properties": {"why": {"type": "string"}, "pick": {"enum": ["A", "B"]}, "sure": {"type": "integer"}}}
    schema = {
        "type": "object",
        "$defs": {"entry": entry},
        "properties": {
            "kind": {"const": "verdicts"},
            "all": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
            "note": {"type": ["null", "string"]},
            "level": {"type": "integer", "minimum": 1, "maximum": 5},
            "colour": {"enum": ["red", "blue"]},
        },
    }
    filled = fill(schema, verdicts)
    assert [(item["pick"], item["sure"]) for item in filled["all"]] == [("A", 90), ("B", 90), ("A", 50)]
    assert (filled["kind"], filled["note"], filled["level"], filled["colour"]) == ("verdicts", None, 3, "red")
    with pytest.raises(ValueError, match="more verdicts"):
        fill({"properties": {"x": {"enum": ["A", "B"]}, "y": {"enum": ["A", "B"]}}}, verdicts[:1])


def test_what_is_no_judges_prompt_is_a_400_and_an_oracles_bug_is_the_tests() -> None:
    def broken(first: str, second: str, question: str) -> float:
        raise ZeroDivisionError("my own bug")

    def asked() -> None:
        with fault_server(broken) as server:
            with pytest.raises(openai.BadRequestError, match="not a judge's prompt"):
                openai_of(server).chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
            with pytest.raises(openai.InternalServerError, match="my own bug"):
                ask(server, "openai")

    def handed_in() -> None:
        with fault_server(broken, batch_seconds=0) as server:
            client = anthropic_of(server).messages.batches
            batch = client.create(requests=[{"custom_id": "1", "params": message_body(turns())}])
            while client.retrieve(batch.id).processing_status != "ended":
                pass

    for work in (asked, handed_in):
        with pytest.raises(ZeroDivisionError, match="my own bug"):
            work()
