"""Every way of asking, through the real SDK and a judge whose preferences, bias and oddities are known."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import build
from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import UserError
from morlaif_core.feedback.answers.verdict import sigmoid
from morlaif_core.feedback.asking.requests import asking_of, build_request, request_key
from morlaif_core.feedback.asking.wordings import worded
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.ledger import read_rows
from morlaif_core.feedback.ledger.tables import Row
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.runs.pace import Done
from morlaif_core.testing import FaultServer, fault_server
from morlaif_core.testing.faultserver import ANSWERS, KnownPreference
from morlaif_core.testing.faultserver.simulated.parsing import parse_judge_messages
from morlaif_core.types import Example, Message, Principle, ResponsePair, make_pair, make_prompt

EXAMPLES = (Example("p", "good", "bad", "a"), Example("q", "worse", "better", "b"))
PRINCIPLES = (
    Principle("kindness", "Which response is kinder?", examples=EXAMPLES),
    Principle("toxicity", "Which response is more toxic?", "worse", ("Which response is nastier?",), EXAMPLES),
    Principle("brevity", "Which response is shorter?"),
)
MODES: dict[str, dict[str, Any]] = {
    "logprob": {},
    "rationale": {"mode": "rationale"},
    "structured": {"mode": "structured"},
    "text": {"mode": "text"},
    "joint": {"joint": True},
}
SOFT = ("logprob", "rationale")
ORACLE = KnownPreference(seed=3)


def some_pairs(n: int) -> list[ResponsePair]:
    return [make_pair(make_prompt([Message("user", f"question {i}")]), f"one {i}", f"two {i}") for i in range(n)]


def judged(
    server: FaultServer, folder: Path, pairs: Sequence[ResponsePair], **judging: Any
) -> tuple[list[Verdict], list[Row]]:
    def provider() -> Any:
        return build("feedback_provider", "openai", model="m", base_url=server.url, api_key=None)

    of = [Task(pair, principle, "j") for pair in pairs for principle in PRINCIPLES]
    judge = NamedJudge("j", provider, Judging(**judging))
    verdicts = judge_tasks(of, {"j": judge}, ledger=folder / "rows.sqlite", seed=0, progress=_ignore)
    return verdicts, list(read_rows(folder / "rows.sqlite"))


def _ignore(done: Done) -> None:
    pass


def leaning(pair: ResponsePair, principle: Principle, order: str, bias: float) -> float:
    """The log-odds, bias included, that the judge names what stands first."""
    texts = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
    return ORACLE.log_odds(*texts, worded(principle, pair.id).question) + bias


def q_of(pair: ResponsePair, principle: Principle) -> float:
    """The log-odds that a is better."""
    return leaning(pair, principle, "ab", 0.0) * (1 if principle.picks == "better" else -1)


BY_NAME = {principle.name: principle for principle in PRINCIPLES}


@pytest.mark.parametrize("few_shots", [0, 2])
@pytest.mark.parametrize("abstain", [False, True])
@pytest.mark.parametrize("mode", list(MODES))
def test_every_mode_finds_what_the_judge_prefers(tmp_path: Path, mode: str, abstain: bool, few_shots: int) -> None:
    pairs = {pair.id: pair for pair in some_pairs(8)}
    judging = {**MODES[mode], "abstain": abstain, "few_shots": few_shots}
    with fault_server(ORACLE, bias=0.5, abstains=lambda prompt, *_: prompt.endswith("3")) as server:
        verdicts, rows = judged(server, tmp_path, list(pairs.values()), **judging)
    for verdict in verdicts:
        pair, q = pairs[verdict.pair], q_of(pairs[verdict.pair], BY_NAME[verdict.principle])
        assert verdict.mode == mode
        if abstain and pair.prompt.messages[-1].content.endswith("3"):
            assert (verdict.status, verdict.p_a) == ("not_applicable", None)
        elif mode in SOFT:
            # With C there are more spellings than top places: what is left out is little.
            near = 0.02 if abstain else 1e-6
            assert verdict.status == "ok"
            assert (verdict.q, verdict.bias) == (pytest.approx(q, abs=near), pytest.approx(0.5, abs=near))
            assert all(mass == pytest.approx(0.98, abs=1e-3) for mass in verdict.mass)
        else:  # a letter alone: the bias decides between close answers, then the order flips and it is a tie
            expected = "tie" if abs(q) < 0.5 else "ok"
            assert (verdict.status, (verdict.q or 0) > 0) == (expected, expected == "ok" and q > 0)
    assert len(rows) == len(verdicts) * 2
    assert {row.mode for row in rows} == {mode}
    assert len({row.template for row in rows}) == 1


GERMAN = "Urteile.\n---\n{conversation}\n\nErste:\n{response_A}\nZweite:\n{response_B}\n\nFrage: {question}\n{answer}"


@pytest.mark.parametrize("mode", list(MODES))
def test_a_judge_that_is_asked_in_the_users_words_answers_in_every_mode(tmp_path: Path, mode: str) -> None:
    (tmp_path / "german.txt").write_text(GERMAN)
    judging = {**MODES[mode], "template": str(tmp_path / "german.txt")}
    with fault_server(ORACLE, bias=0.0) as server:
        verdicts, _ = judged(server, tmp_path, some_pairs(8), **judging)
        said = [body["messages"] for body in server.requests]
    assert {turns[0]["content"] for turns in said} == {"Urteile."}
    assert all("Frage: " in turns[1]["content"] and "Zweite:\n<response_B " in turns[1]["content"] for turns in said)
    assert {verdict.status for verdict in verdicts} <= {"ok", "tie"}
    assert {verdict.p_a > 0.5 for verdict in verdicts if verdict.p_a is not None} == {True, False}


class TestPositionBias:
    @pytest.mark.parametrize("mode", SOFT)
    @pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0, 2.0, 4.0])
    def test_both_orders_take_it_out(self, tmp_path: Path, bias: float, mode: str) -> None:
        pairs = some_pairs(30)
        with fault_server(ORACLE, bias=bias) as server:
            verdicts, _ = judged(server, tmp_path, pairs, **MODES[mode])
        known = {(pair.id, p.name): q_of(pair, p) for pair in pairs for p in PRINCIPLES}
        errors = [abs((v.p_a or 0.0) - sigmoid(known[v.pair, v.principle])) for v in verdicts]
        biases = [v.bias for v in verdicts if v.bias is not None]
        assert len(biases) == len(errors) == 90
        assert math.fsum(errors) / len(errors) <= 0.01
        assert math.fsum(biases) / len(biases) == pytest.approx(bias, abs=0.05)

    def test_one_order_keeps_it(self, tmp_path: Path) -> None:
        with fault_server(ORACLE, bias=2.0) as server:
            verdicts, rows = judged(server, tmp_path, some_pairs(20), orders="one_random")
        assert len(rows) == len(verdicts)
        assert all(verdict.bias is None for verdict in verdicts)


STATUS = {
    "refusal": {"refused"},
    "content_filter": {"filtered"},
    "length": {"parse_error"},
    "logprobs_null": {"parse_error"},
    "label_a_missing": {"ok", "off_label"},
    "label_b_missing": {"ok", "off_label"},
    "outside": {"ok", "off_label"},
    "odd_spelling": {"ok"},
    "other_model": {"ok"},
    "usage_null": {"ok"},
    "fenced": {"ok"},
    "preamble": {"ok"},
    "thinking": {"parse_error", "off_label"},
}


def oddity(content: str) -> str:
    """What is odd about the answer to a prompt: of 46 % something; empty: nothing."""
    place = int(hashlib.sha256(content.encode()).hexdigest(), 16) % 100
    return ANSWERS[place // 4 if place < 40 else 10 + (place - 40) // 2] if place < 46 else ""


@pytest.mark.parametrize("mode", list(MODES))
def test_odd_answers_become_statuses_and_never_labels(tmp_path: Path, mode: str) -> None:
    assert set(STATUS) == set(ANSWERS)
    bias, pairs = 0.5, {pair.id: pair for pair in some_pairs(120 if mode == "joint" else 50)}
    with fault_server(
        ORACLE, bias=bias, faults=lambda _, body: oddity(body["messages"][-1]["content"]) or None
    ) as server:
        verdicts, rows = judged(server, tmp_path, list(pairs.values()), **MODES[mode])
        kinds = Counter(oddity(body["messages"][-1]["content"]) for body in server.requests)
        kind_of = {
            (parsed.first, parsed.second, question): oddity(body["messages"][-1]["content"])
            for body in server.requests
            for parsed in [parse_judge_messages(body["messages"][-1]["content"])]
            for question in parsed.questions
        }
    assert set(kinds) == {"", *ANSWERS}
    assert 0.3 < 1 - kinds[""] / sum(kinds.values()) < 0.5
    seen = Counter[str]()
    for row in rows:
        pair, principle = pairs[row.pair], BY_NAME[row.principle]
        texts = (pair.a, pair.b) if row.order == "ab" else (pair.b, pair.a)
        kind = kind_of[*texts, worded(principle, pair.id).question]
        relevant = kind in STATUS and (mode in SOFT or not kind.startswith(("logprobs", "label", "outside")))
        assert row.status in (STATUS[kind] if relevant else {"ok"}), kind
        seen[row.status] += 1
        truth = leaning(pair, principle, row.order, bias)
        if row.status != "ok":
            assert (row.logit, row.p_first, row.verdict) == (None, None, None)
        else:
            assert row.verdict == ("first" if truth > 0 else "second")
            expected = truth if mode in SOFT else math.copysign(math.log(3), truth)
            # A bound may be off, and says so; it still names the right side.
            assert row.censored or row.logit == pytest.approx(expected)
    assert seen["ok"] > 0.6 * len(rows)
    assert {"refused", "filtered", "parse_error"} <= set(seen)
    for verdict in verdicts:
        labelled = all(status == "ok" for status in verdict.statuses)
        assert (verdict.p_a is not None) == labelled


def test_little_label_mass_is_no_label_but_tells_of_the_judge(tmp_path: Path) -> None:
    pairs = {pair.id: pair for pair in some_pairs(3)}  # 18 requests: too few to stop the judge
    with fault_server(ORACLE, bias=1.5, mass=0.3) as server:
        verdicts, _ = judged(server, tmp_path, list(pairs.values()))
        again, _ = judged(server, tmp_path, list(pairs.values()))
        assert len(server.requests) == 18
        read, _ = judged(server, tmp_path / "least", list(pairs.values()), min_label_mass=0.2)
    for verdict in (*verdicts, *again):
        pair, principle = pairs[verdict.pair], BY_NAME[verdict.principle]
        assert (verdict.status, verdict.p_a, verdict.first) == ("off_label", None, (None, None))
        assert verdict.off == tuple(pytest.approx(leaning(pair, principle, order, 1.5)) for order in ("ab", "ba"))
        assert all(mass == pytest.approx(0.3) for mass in verdict.mass)
    assert {verdict.status for verdict in read} == {"ok"}


def test_what_the_model_cannot_do_stops_before_anything_is_asked(tmp_path: Path) -> None:
    def provider() -> Any:
        return build("feedback_provider", "anthropic", model="m", base_url="http://127.0.0.1:9", api_key=None)

    judge = NamedJudge("j", provider, Judging(mode="logprob"))
    of = [Task(pair, PRINCIPLES[0], "j") for pair in some_pairs(1)]
    with pytest.raises(UserError, match=r"judging\.mode"):
        judge_tasks(of, {"j": judge}, ledger=tmp_path / "rows.sqlite", seed=0, progress=_ignore)


def test_a_rationale_is_kept_with_the_likeliest_letters_alone(tmp_path: Path) -> None:
    with fault_server(ORACLE) as server:
        _, rows = judged(server, tmp_path, some_pairs(1), mode="rationale")
        _, plain = judged(server, tmp_path / "logprob", some_pairs(1))
    for row in rows:
        said = json.loads(row.answer or "")
        kept = [place for place, top in enumerate(said["top_logprobs"]) if top]
        assert len(said["tokens"]) == len(said["top_logprobs"]) > 5
        assert [said["tokens"][place].strip() in ("A", "B") for place in kept] == [True]
    assert all(json.loads(row.answer or "")["top_logprobs"][0] for row in plain)


def test_the_key_of_a_row_is_that_of_its_request(tmp_path: Path) -> None:
    (pair,) = some_pairs(1)
    with fault_server(ORACLE) as server:
        made = build("feedback_provider", "openai", model="m", base_url=server.url, api_key=None)
        _, rows = judged(server, tmp_path, [pair], mode="structured")
    asking = asking_of(made.capabilities, Judging(mode="structured"))
    requests = [build_request(pair, (p,), order, asking) for p in PRINCIPLES for order in ("ab", "ba")]
    assert {row.key for row in rows} == {request_key(made.identity, request) for request in requests}
