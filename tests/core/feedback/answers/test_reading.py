"""What an answer says in each mode: labels where they were asked for, a status everywhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, strategies as st

from morlaif_core.feedback.answers.reading import rationale_place, read_answer, read_joint
from morlaif_core.feedback.answers.verdict import CLIP, Reading, merge_samples
from morlaif_core.feedback.types import Counts, Mode
from morlaif_core.types import Answer

LOG3 = math.log(3)


def top(**p: float) -> dict[str, float]:
    return {token: math.log(value) for token, value in p.items()}


def spoken(*tokens: str, letter: Mapping[str, float], finish: str = "stop") -> Answer:
    """A rationale; the position that holds a lone letter has these probabilities, all others are sure of themselves."""
    tops = [letter if token.strip() in ("A", "B", "C", "The") else {token: 0.0} for token in tokens]
    return Answer("".join(tokens), finish, tuple(tops), tokens=tokens)  # type: ignore[arg-type]


class TestRationale:
    SAYS_B = top(A=0.2, B=0.7)

    @pytest.mark.parametrize(
        "tokens",
        [
            ("B", " is longer", ".\n", "Verdict", ":", " B"),
            ("Verdict: A\n", "no", "\n", "verdict", ":", " B", "\n"),
            ("Short.\n", "**Verdict", ":**", " B"),
            ("Short.\n", "Verdict", ": ", "**", "B", "**"),
            ("Short", "Ċ", "Verdict", ":", "ĠB"),
        ],
    )
    def test_the_letter_after_the_last_verdict_is_read(self, tokens: Sequence[str]) -> None:
        text = "".join(tokens).replace("Ċ", "\n").replace("Ġ", " ")
        tops = [self.SAYS_B if token.strip(" Ġ") == "B" else {token: 0.0} for token in tokens]
        reading = read_answer(Answer(text, "stop", tuple(tops), tokens=tuple(tokens)), "rationale")
        assert reading == Reading("ok", pytest.approx(math.log(0.2 / 0.7)), pytest.approx(0.9))

    def test_its_last_token_need_not_be_the_letter(self) -> None:
        said = spoken("Yes", ".\n", "Verdict", ":", " A", letter=top(A=0.9, B=0.05))
        ended = Answer(said.text, "stop", (*said.top_logprobs, {"</s>": 0.0}), tokens=(*said.tokens, "</s>"))
        assert read_answer(ended, "rationale").logit == pytest.approx(math.log(18))

    @pytest.mark.parametrize(
        "answer",
        [
            spoken("A", " is better.", letter=SAYS_B),
            spoken("It quotes: Verdict: A", " and so on", letter=SAYS_B),
            spoken("x\n", "Verdict", ":", " A", "\nor perhaps not", letter=SAYS_B),
            spoken("x\n", "Verdict", ":", letter=SAYS_B),
            spoken("x\n", "Verdict", ":", " A", " careful look shows B", letter=SAYS_B),
            spoken("x\n", "Verdict", ":", " A", letter=SAYS_B, finish="length"),
            spoken("x\n", "Verdict", ":", " C", letter=SAYS_B),
            Answer("x\nVerdict: A", tokens=("x\n", "Verdict", ":", " A")),
            Answer("x\nVerdict: A", top_logprobs=(SAYS_B,)),
            Answer(""),
        ],
    )
    def test_no_such_line_no_label(self, answer: Answer) -> None:
        assert read_answer(answer, "rationale") == Reading("parse_error")

    def test_little_mass_is_off_label_with_its_odds(self) -> None:
        reading = read_answer(spoken("x\n", "Verdict", ":", " The", letter=top(The=0.8, A=0.1, B=0.05)), "rationale")
        assert (reading.status, reading.logit, reading.off) == ("off_label", None, pytest.approx(math.log(2)))

    def test_does_not_apply(self) -> None:
        said = spoken("x\n", "Verdict", ":", " C", letter=top(C=0.9, A=0.05))
        assert read_answer(said, "rationale", abstain=True).status == "not_applicable"

    @given(st.lists(st.text(max_size=6), max_size=8), st.integers(1, 5))
    def test_the_position_is_found_however_the_text_is_cut(self, before: list[str], size: int) -> None:
        text = " ".join(before) + "\nVerdict: B"
        tokens = tuple(text[start : start + size] for start in range(0, len(text), size))
        place = rationale_place(Answer(text, tokens=tokens))
        assert place == len(tokens) - 1


class TestLetters:
    def test_a_third_label_counts_where_it_is_offered(self) -> None:
        answer = Answer(top_logprobs=(top(A=0.3, B=0.1, C=0.5, The=0.05),))
        offered = read_answer(answer, "logprob", abstain=True)
        assert (offered.status, offered.logit, offered.mass) == ("not_applicable", None, pytest.approx(0.9))
        assert read_answer(answer, "logprob") == Reading("off_label", mass=pytest.approx(0.4), off=pytest.approx(LOG3))

    def test_the_third_label_must_outweigh_both_others(self) -> None:
        reading = read_answer(Answer(top_logprobs=(top(A=0.3, B=0.25, C=0.4),)), "logprob", abstain=True)
        assert (reading.status, reading.logit) == ("ok", pytest.approx(math.log(0.3 / 0.25)))
        assert reading.mass == pytest.approx(0.95)

    def test_no_label_in_sight_is_never_a_tie(self) -> None:
        assert read_answer(Answer(top_logprobs=(top(The=0.9),)), "logprob", least=0.0).status == "off_label"

    def test_tiny_and_broken_probabilities(self) -> None:
        assert read_answer(Answer(top_logprobs=({"A": -0.01, "B": -800.0},)), "logprob").logit == CLIP
        assert read_answer(Answer(top_logprobs=({"A": math.nan, "B": -0.1},)), "logprob").censored
        assert read_answer(Answer(top_logprobs=({"A": -9999.0, "B": -0.1},)), "logprob").censored

    @pytest.mark.parametrize(
        ("text", "abstain", "status"),
        [
            ("C", True, "not_applicable"),
            ("C", False, "parse_error"),
            ("c.", True, "not_applicable"),
            ("tie", True, "parse_error"),
            ("Neither", False, "parse_error"),
            ("AB", False, "parse_error"),
            ("Response A", False, "parse_error"),
        ],
    )
    def test_words(self, text: str, abstain: bool, status: str) -> None:
        assert read_answer(Answer(text), "text", abstain=abstain).status == status

    @pytest.mark.parametrize(
        ("text", "read"), [("<think>\nA\n</think>\n\nB", True), ("<think>\nA", False), ("Hm, A?\n</think>\nB", True)]
    )
    def test_what_is_thought_is_not_the_letter(self, text: str, read: bool) -> None:
        assert read_answer(Answer(text), "text").counts == (Counts(second=1) if read else None)

    def test_a_letter_that_stands_first_is_not_taken_back_by_a_quoted_end_of_thoughts(self) -> None:
        assert read_answer(Answer("A\nIt wrote </think>\nB"), "text").counts == Counts(first=1)

    @pytest.mark.parametrize("text", ["B", " b", "**B", "(B", "B.", "ĠB", "▁B", "\nB"])
    def test_odd_spellings_are_labels(self, text: str) -> None:
        assert read_answer(Answer(text), "text").counts == Counts(second=1)
        assert read_answer(Answer(top_logprobs=({text: -0.01},)), "logprob").status == "ok"


def structured(**said: object) -> str:
    return json.dumps({"rationale": "A careful reading", "confidence": 0.7, **said})


class TestStructured:
    @pytest.mark.parametrize(
        ("text", "counts", "logit"),
        [
            (structured(verdict="A"), Counts(first=1), LOG3),
            (structured(verdict="B"), Counts(second=1), -LOG3),
            (structured(verdict="tie"), Counts(tie=1), 0.0),
            (" \n" + structured(verdict="b"), Counts(second=1), -LOG3),
            ('{"verdict": "A"}', Counts(first=1), LOG3),
        ],
    )
    def test_verdicts(self, text: str, counts: Counts, logit: float) -> None:
        reading = read_answer(Answer(text), "structured")
        assert (reading.status, reading.counts, reading.logit) == ("ok", counts, pytest.approx(logit))

    @pytest.mark.parametrize(
        "text",
        [
            structured(),
            structured(verdict="A or B"),
            structured(verdict=None),
            structured(verdict=1),
            structured(verdict=["A"]),
            structured(verdict="not_applicable"),
            structured(verdict="A")[:-1],
            '{"verdict": "A", "verdict": "B"}',
            '["A"]',
            '"A"',
            "A",
            "",
            "[" * 100_000,
            "9" * 10_000,
        ],
    )
    def test_anything_else_is_a_parse_error(self, text: str) -> None:
        assert read_answer(Answer(text), "structured") == Reading("parse_error")

    @pytest.mark.parametrize(
        "text",
        [
            f"```json\n{structured(verdict='B')}\n```",
            f"```\n{structured(verdict='B')}\n```\n",
            f"Here is my verdict: {structured(verdict='B')}",
            f"Sure. [1] {structured(verdict='B')}",
            f"<think>{structured(verdict='A')}, or not?</think>\n\n{structured(verdict='B')}",
            f"or perhaps A</think>{structured(verdict='B')}",
            f"{structured(verdict='B')}\nAgain:\n{structured(verdict='B')}",
            structured(rationale='It says {"verdict": "A"} and </think>', verdict="B"),
        ],
    )
    def test_the_one_object_that_fits_is_read_in_a_fence_or_after_a_sentence(self, text: str) -> None:
        assert read_answer(Answer(text), "structured").counts == Counts(second=1)

    @pytest.mark.parametrize(
        "text",
        [
            f"It says {structured(verdict='A')}. I say {structured(verdict='B')}",
            f"I say {structured(verdict='B')}, though it says {structured(verdict='A')}",
            'It says {"verdict": "A"}. I say ' + structured(verdict="B"),
            f'I say {structured(verdict="B")} where it says {{"verdict": "A"}}',
            'The response says {"verdict": "A"}, so I cannot tell.',
            f"Response A contains {structured(verdict='A')}, so I cannot",
            f"Response A says {structured(verdict='A')}. That is an injection; my verdict: B",
            f"My verdict: {structured(verdict='B')} because A wrote </think>{structured(verdict='A')}",
            f"or perhaps {structured(verdict='A')}</think>{structured(verdict='B')}",
            f"Broken: {{{structured(verdict='B')}",
            f'```json\n{{"rationale": {structured(verdict="B")}, "verdict": "A"\n```',
            'Mine: {"rationale": "", "confidence": 1, "verdict": "A", "verdict": "B"}',
            f"<think>{structured(verdict='B')}",
            f"<think>{structured(verdict='B')}</think>",
            f"```json\n{structured(verdict='A or B')}\n```",
            "Look: " + "{" * 100_000,
            "Look: " + '{"a":' * 100_000,
        ],
    )
    def test_a_quoted_or_doubtful_object_does_not_vote(self, text: str) -> None:
        assert read_answer(Answer(text), "structured") == Reading("parse_error")

    def test_does_not_apply_where_it_was_offered(self) -> None:
        answer = Answer(structured(verdict="not_applicable"))
        assert read_answer(answer, "structured", abstain=True) == Reading("not_applicable")


class TestJoint:
    def test_each_principle_has_its_own_reading(self) -> None:
        answer = Answer('{"1": "A", "2": "tie", "3": "not_applicable", "5": "B"}')
        statuses = [reading.status for reading in read_joint(answer, 5, abstain=True)]
        assert statuses == ["ok", "ok", "not_applicable", "parse_error", "ok"]
        assert read_joint(answer, 5)[2].status == "parse_error"
        assert [reading.counts for reading in read_joint(answer, 2)] == [Counts(first=1), Counts(tie=1)]

    def test_a_fence_or_a_sentence_around_it_does_not_matter_unless_another_differs(self) -> None:
        mine = '{"1": "A", "2": "B"}'
        for text in (f"```json\n{mine}\n```", f"My verdicts: {mine}", f'<think>{{"1": "B"}}</think>{mine}'):
            assert [reading.counts for reading in read_joint(Answer(text), 2)] == [Counts(1), Counts(second=1)]
        for text in (f'It says {{"1": "B"}}. {mine}', f'{mine} {{"1": "A", "2": "A"}}', 'Mine: {"1": "A"}'):
            assert read_joint(Answer(text), 2) == [Reading("parse_error")] * 2

    def test_a_refusal_is_that_of_all(self) -> None:
        assert read_joint(Answer('{"1": "A"}', finish="refused"), 2) == [Reading("refused")] * 2
        assert read_joint(Answer("I cannot"), 2) == [Reading("parse_error")] * 2


@pytest.mark.parametrize("mode", ["logprob", "rationale", "structured", "text", "pair"])
def test_refusals_and_filters_come_before_any_label(mode: Mode) -> None:
    for finish in ("refused", "filtered", "not_applicable"):
        said = Answer("A", finish, (top(A=0.9),), 0.9, tokens=("A",))  # type: ignore[arg-type]
        assert read_answer(said, mode) == Reading(finish)  # type: ignore[arg-type]


A, B, TIE = (Reading("ok", x, counts=c) for x, c in [(LOG3, Counts(1)), (-LOG3, Counts(0, 1)), (0.0, Counts(0, 0, 1))])
NONE, BROKEN, REFUSED = Reading("not_applicable"), Reading("parse_error"), Reading("refused")


@pytest.mark.parametrize(
    ("samples", "status", "counts"),
    [
        ([A, A, B], "ok", Counts(2, 1)),
        ([A, TIE], "ok", Counts(1, 0, 1)),
        ([A, BROKEN], "ok", Counts(1)),
        ([A, BROKEN, REFUSED], "parse_error", None),
        ([A, NONE], "ok", Counts(1)),
        ([A, NONE, NONE], "not_applicable", None),
        ([NONE, BROKEN], "not_applicable", None),
        ([NONE, BROKEN, REFUSED], "parse_error", None),
        ([REFUSED, REFUSED], "refused", None),
        ([A, A, A, Reading("failed")], "failed", None),
    ],
)
def test_samples_of_an_order_are_put_together(samples: list[Reading], status: str, counts: Counts | None) -> None:
    merged = merge_samples([Reading(**{**vars_of(one), "cost": 0.5}) for one in samples])
    assert (merged.status, merged.counts, merged.cost) == (status, counts, 0.5 * len(samples))
    if counts is not None:
        assert merged.logit == pytest.approx(math.log((counts.first + 0.5) / (counts.second + 0.5)))


def vars_of(reading: Reading) -> dict[str, object]:
    return {name: getattr(reading, name) for name in Reading.__slots__}


def test_costs_that_are_not_known_stay_unknown() -> None:
    assert merge_samples([A, B]).cost is None
    assert merge_samples([A]) is A
