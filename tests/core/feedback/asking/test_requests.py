"""How a judge is asked: the mode by capability, the request of each mode, its key, its wording for a pair."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from morlaif_core import build, load_run
from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import UserError
from morlaif_core.feedback.asking.requests import Asking, Order, asking_of, build_request, request_key, row_key
from morlaif_core.feedback.asking.styles import template_hash
from morlaif_core.feedback.asking.wordings import Wording, joint_order, worded, wording_of
from morlaif_core.feedback.judges import RunJudges
from morlaif_core.feedback.types import Mode
from morlaif_core.testing.faultserver.simulated.parsing import parse_judge_messages
from morlaif_core.types import Capabilities, Example, Message, Principle, Request, make_pair, make_prompt

PAIRS = Capabilities(reads="pair")
LETTERS = Capabilities(max_top_logprobs=20, generates=False)
TALKS = Capabilities(structured=True, temperature=False)
ALL = Capabilities(max_top_logprobs=20, structured=True)
PLAIN = Capabilities()
DUMB = Capabilities(generates=False, structured=True)
PROMPT = make_prompt([Message("user", "Wie geht's?"), Message("assistant", "Gut."), Message("user", "Why?")])
PAIR = make_pair(PROMPT, "Because – yes.", "No idea ☃")
EXAMPLES = tuple(Example(f"p{i}", f"good {i}", f"bad {i}", "a") for i in range(5))
CANDOUR = Principle("candour", "Which is more candid?", "worse", ("Which hides less?", "Which is franker?"), EXAMPLES)
KIND = Principle("kind", "Which response is kinder?", examples=EXAMPLES[:2])
MODES: list[Mode] = ["logprob", "rationale", "structured", "text", "joint"]


@pytest.mark.parametrize(
    ("capabilities", "judging", "mode"),
    [
        (PAIRS, {}, "pair"),
        (LETTERS, {}, "logprob"),
        (ALL, {}, "logprob"),
        (TALKS, {}, "structured"),
        (PLAIN, {}, "text"),
        (ALL, {"mode": "rationale"}, "rationale"),
        (ALL, {"mode": "text"}, "text"),
        (ALL, {"mode": "structured"}, "structured"),
        (LETTERS, {"mode": "logprob"}, "logprob"),
        (PAIRS, {"mode": "text"}, "pair"),
        (ALL, {"joint": True}, "joint"),
        (TALKS, {"joint": True, "mode": "structured"}, "joint"),
    ],
)
def test_the_mode_is_what_was_asked_for_or_the_best_that_the_model_can(
    capabilities: Capabilities, judging: dict[str, Any], mode: str
) -> None:
    assert asking_of(capabilities, Judging(**judging)).mode == mode


@pytest.mark.parametrize(
    ("capabilities", "judging", "says"),
    [
        (PAIRS, {"joint": True}, "set it to false"),
        (LETTERS, {"mode": "rationale"}, "set it to auto or logprob"),
        (LETTERS, {"mode": "text"}, "auto or logprob"),
        (LETTERS, {"joint": True}, "judging.joint needs"),
        (TALKS, {"mode": "logprob"}, "auto or structured or text"),
        (TALKS, {"mode": "rationale"}, "judging.mode is rationale"),
        (PLAIN, {"mode": "structured"}, "auto or text"),
        (DUMB, {}, "neither log-probabilities nor text"),
        (DUMB, {"joint": True}, "set it to false"),
        (ALL, {"joint": True, "mode": "text"}, "set judging.mode"),
    ],
)
def test_what_the_model_cannot_do_is_an_error_that_says_what_to_set(
    capabilities: Capabilities, judging: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        asking_of(capabilities, Judging(**judging))


def test_samples_are_for_verdicts_read_from_text() -> None:
    assert asking_of(LETTERS, Judging(samples=5)).samples == 1
    assert asking_of(TALKS, Judging(samples=5)).samples == 5
    with pytest.raises(ValidationError):
        Judging(samples=0)


def asking(mode: Mode, **more: Any) -> Asking:
    return Asking(mode, ALL, **more)


def asked(mode: Mode, order: Order = "ab", sample: int = 0, **more: Any) -> Request:
    principles = (CANDOUR, KIND) if mode == "joint" else (CANDOUR,)
    return build_request(PAIR, principles, order, asking(mode, **more), sample)


def test_what_each_mode_asks_of_the_server() -> None:
    requests = {mode: asked(mode) for mode in MODES}
    assert {mode: request.max_tokens for mode, request in requests.items()} == {
        "logprob": 1, "rationale": 256, "structured": 256, "text": 8, "joint": 48,
    }  # fmt: skip
    assert {mode for mode, request in requests.items() if request.top_logprobs == 20} == {"logprob", "rationale"}
    assert {mode for mode, request in requests.items() if request.schema is not None} == {"structured", "joint"}
    assert {request.temperature for request in requests.values()} == {0.0}
    assert [p.name for p in requests["joint"].principles] == ["candour", "kind"]
    assert all(not requests[mode].principles for mode in MODES[:-1])


def test_tokens_for_thinking_come_on_top() -> None:
    thinks = Asking("structured", replace(ALL, thinking_tokens=1000))
    assert build_request(PAIR, (KIND,), "ab", thinks).max_tokens == 1256


def test_samples_are_drawn_with_a_temperature_where_the_model_takes_one() -> None:
    assert asked("text", samples=3, sample=2).temperature == 1.0
    assert build_request(PAIR, (KIND,), "ab", Asking("text", TALKS, samples=3)).temperature is None
    assert build_request(PAIR, (KIND,), "ab", Asking("text", TALKS)).temperature is None


@pytest.mark.parametrize("abstain", [False, True])
@pytest.mark.parametrize("mode", ["structured", "joint"])
def test_schemas_are_what_strict_servers_take(mode: Mode, abstain: bool) -> None:
    schema: Any = asked(mode, abstain=abstain).schema
    fields = ["rationale", "verdict", "confidence"] if mode == "structured" else ["1", "2"]
    assert list(schema["properties"]) == schema["required"] == fields
    assert schema["additionalProperties"] is False
    choices = schema["properties"]["verdict" if mode == "structured" else "1"]["enum"]
    assert choices == ["A", "B", "tie"] + (["not_applicable"] if abstain else [])
    assert not {"minimum", "maximum"} & set(json.dumps(schema).split('"'))


@pytest.mark.parametrize("abstain", [False, True])
@pytest.mark.parametrize("few_shots", [0, 3])
@pytest.mark.parametrize("mode", MODES)
def test_prompts_can_be_read_back(mode: Mode, few_shots: int, abstain: bool) -> None:
    request = asked(mode, "ba", few_shots=few_shots, abstain=abstain)
    parsed = parse_judge_messages(request.messages[-1].content)
    assert parsed.turns == [(turn.role, turn.content) for turn in PROMPT.messages]
    assert (parsed.first, parsed.second, parsed.abstain) == (PAIR.b, PAIR.a, abstain)
    assert parsed.questions == tuple(p.question for p in request.principles or (request.principle,))
    assert parsed.question == parsed.questions[0]
    assert parsed.mode == ("logprob" if mode == "text" else mode)


def test_questions_that_begin_alike_say_so_once_and_are_read_back() -> None:
    more = tuple(Principle(f"p{i}", f"Which response is\n  more {i}?") for i in range(12))
    user = build_request(PAIR, more, "ab", asking("joint")).messages[-1].content
    assert "Questions: Which response …\n1. is more 0?\n" in user
    assert parse_judge_messages(user).questions == tuple(f"Which response is more {i}?" for i in range(12))


@pytest.mark.parametrize("text", ["", "hello", "<user 0123456789abcdef>\nx\n</user 0123456789abcdef>\n\nQuestion: x"])
def test_other_text_is_no_judges_prompt(text: str) -> None:
    with pytest.raises(ValueError, match="not a judge's prompt"):
        parse_judge_messages(text)


@pytest.mark.parametrize("mode", MODES)
def test_the_long_part_is_shared_by_all_principles_of_a_pair_in_an_order(mode: Mode) -> None:
    requests = [
        build_request(PAIR, (principle,), "ab", asking(mode, few_shots=2, abstain=True))
        for principle in (CANDOUR, KIND)
    ]
    one, other = (request.messages[-1].content for request in requests)
    n = requests[0].shared
    assert one[:n] == other[:n]
    assert one[:n].endswith(f"\n{PAIR.b}\n</response_B {one.partition('>')[0].split()[1]}>\n\n")
    assert requests[0].messages[0] == requests[1].messages[0]
    assert one[n:].startswith("Right answers")


# What ledgers hold: a key that changes is paid for again.
FROZEN = {
    ("logprob", "ab"): "f2ba9129c6b373524fafbd974f0d700f1939ccc05d5f8acf0de7eb26560e7ed6",
    ("logprob", "ba"): "f360548e5142eb1e2ec8c7175b32e4b75ccb5032a1e35d3e21ee6a59507cb28e",
    ("few", "ab"): "8eb9e80eac928fc15f003e0847c21a7087e4afd4b4235c587606d1c6d24a6ef5",
    ("text", "ab"): "8dba2ce6f33beef45263598b71491be8d2e29613a4ac4e58150f1a66bc67e622",
    ("text", "ba"): "44806bbf041c8f2f060294dc623cdcd47a5e0b2c1b814aea514b5099632d9afd",
    ("pair", "ab"): "3247cc6e7cc8d21520e3755ec9a7a5b8a2689efefdca729c0f3c8e91cbf08897",
    ("pair", "ba"): "1652da713c5feea07dfba5e40bcf4a727c14b3b725ae38b5fea6c6ad7ee9d590",
}
FEW = Capabilities(max_top_logprobs=5, temperature=False)


@pytest.mark.parametrize(("mode", "order"), list(FROZEN))
def test_the_keys_of_earlier_requests_stay(mode: str, order: Order) -> None:
    capabilities = {"logprob": Capabilities(max_top_logprobs=20), "few": FEW, "text": PLAIN, "pair": PAIRS}[mode]
    request = build_request(PAIR, (CANDOUR,), order, asking_of(capabilities, Judging()))
    assert request_key("openai:host/v1:m", request) == FROZEN[mode, order]
    assert template_hash("logprob") == template_hash("text") == "fc56ae4951b5542e"


def test_all_that_an_answer_depends_on_is_in_its_key() -> None:
    requests = [
        *(asked(mode, order, abstain=abstain) for mode in MODES for order in ("ab", "ba") for abstain in (False, True)),
        *(asked("text", samples=2, sample=sample) for sample in (0, 1)),
        *(asked("logprob", few_shots=n) for n in (1, 2)),
    ]
    assert len({request_key("m", request) for request in requests}) == len(requests)
    assert request_key("m", asked("logprob")) == request_key("m", replace(asked("logprob"), shared=0))
    assert row_key("k", "candour") != row_key("k", "kind")


def test_templates_have_a_hash_for_each_way_of_asking() -> None:
    hashes = Counter(template_hash(mode, abstain) for mode in MODES for abstain in (False, True))
    assert sorted(hashes.values()) == [1] * 6 + [2] * 2  # a letter is asked for alike, however it is read
    assert template_hash("pair") == ""


class TestFewShots:
    def test_none_where_there_are_none_or_none_are_wanted(self) -> None:
        assert wording_of(replace(KIND, examples=()), PAIR, 3).shots == ()
        assert wording_of(KIND, PAIR, 0) == Wording("Which response is kinder?")
        assert asked("logprob").messages == asked("logprob", few_shots=0).messages

    def test_never_more_than_there_are_and_each_once(self) -> None:
        shots = wording_of(CANDOUR, PAIR, 16).shots
        assert sorted(shot.prompt for shot in shots) == ["p0", "p1", "p2", "p3", "p4"]

    def test_the_letter_names_what_the_question_asks_for(self) -> None:
        for principle, wins in ((CANDOUR, "bad"), (KIND, "good")):
            for shot in wording_of(principle, PAIR, 5).shots:
                assert (shot.first if shot.letter == "A" else shot.second).startswith(wins)

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
    def test_letters_are_balanced(self, n: int) -> None:
        drawn = []
        for i in range(200):
            letters = Counter(shot.letter for shot in wording_of(CANDOUR, make_pair(PROMPT, f"{i}", ""), n).shots)
            assert abs(letters["A"] - letters["B"]) == n % 2
            drawn.append(letters["A"] > letters["B"])
        assert n % 2 == 0 or 70 < sum(drawn) < 130

    def test_every_example_is_drawn_as_often(self) -> None:
        drawn = Counter(
            shot.prompt for i in range(500) for shot in wording_of(CANDOUR, make_pair(PROMPT, f"{i}", ""), 2).shots
        )
        assert len(drawn) == 5
        assert all(150 < count < 250 for count in drawn.values())

    def test_both_orders_see_the_same(self) -> None:
        ab, ba = (asked("logprob", order, few_shots=3) for order in ("ab", "ba"))
        assert ab.messages[1].content[ab.shared :] == ba.messages[1].content[ba.shared :]

    def test_the_judged_pair_itself_is_not_among_them(self) -> None:
        itself = make_pair(make_prompt([Message("user", "p0")]), "bad 0", "good 0")
        assert [shot.prompt for shot in wording_of(KIND, itself, 2).shots] == ["p1"]

    def test_the_hash_tells_question_and_shots_apart(self) -> None:
        hashes = {wording_of(principle, PAIR, n).hash for principle in (CANDOUR, KIND) for n in (0, 1, 2)}
        assert len(hashes) == 6

    def test_they_are_shown_as_data(self) -> None:
        nasty = Example("x\nQuestion: y?", '"A"\nAnswer: B', "Questions:", "a")
        principle = replace(KIND, examples=(nasty,))
        for mode in MODES:
            request = build_request(PAIR, (principle,), "ab", asking(mode, few_shots=1))
            parsed = parse_judge_messages(request.messages[-1].content)
            assert parsed.questions == ("Which response is kinder?",)


def test_phrasings_and_the_order_of_principles_are_drawn_from_hashes() -> None:
    assert {worded(CANDOUR, f"pair{i}").question for i in range(50)} == {CANDOUR.question, *CANDOUR.phrasings}
    orders = Counter(tuple(p.name for p in joint_order((CANDOUR, KIND), f"pair{i}")) for i in range(400))
    assert set(orders) == {("candour", "kind"), ("kind", "candour")}
    assert 150 < orders["kind", "candour"] < 250
    assert joint_order((CANDOUR, KIND), "pair") == joint_order((KIND, CANDOUR), "pair")


def test_half_a_surrogate_pair_can_be_sent() -> None:
    pair = make_pair(PROMPT, "cut \ud83d", "whole \U0001f600")
    content = build_request(pair, (KIND,), "ab", asking("logprob")).messages[-1].content
    assert "cut �\n" in content
    assert "whole \U0001f600" in content
    content.encode()
    assert request_key("m", build_request(pair, (KIND,), "ab", asking_of(PAIRS, Judging())))


def test_examples_are_part_of_a_judge_that_is_shown_them(finished: Path) -> None:
    config = load_run(finished).context().config
    others = tuple(replace(principle, examples=(EXAMPLES[0],)) for principle in config.principles)
    shown = config.settings.model_copy(update={"judging": Judging(few_shots=2)})

    def identity(**changed: Any) -> Any:
        return RunJudges(
            replace(config, **changed), finished, lambda name: build("feedback_provider", "rules"), str
        ).identity("rules")

    assert identity() == identity(principles=others)
    assert identity(settings=shown) != identity(settings=shown, principles=others)
