"""A judge whose answers have no labels stops after the first ones, says why and what to set, and goes on once it is set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import build
from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.ledger import read_rows
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.testing import FaultServer, KnownPreference, fault_server
from morlaif_core.testing.faultserver import FaultMix
from morlaif_core.types import Answer, Capabilities, Request
from tests.helpers.known_judges import BETTER, WORSE, Batched, Letters, run, some_pairs

N, AT_ONCE = 50, 4
JSON_ONLY = {"top_logprobs": 0}


def ask(server: FaultServer, folder: Path, options: dict[str, Any] | None = None, **judging: Any) -> list[Verdict]:
    """Ask about 50 pairs, each in two orders, through the real SDK."""
    given: dict[str, Any] = {"model": "m", "base_url": server.url, "api_key": None, **(options or {})}
    judge = NamedJudge(
        "j", lambda: build("feedback_provider", "openai", **given), Judging(concurrency=AT_ONCE, **judging)
    )
    tasks = [Task(pair, BETTER, "j") for pair in some_pairs(N)]
    return judge_tasks(tasks, {"j": judge}, ledger=folder / "l.sqlite", seed=0, progress=lambda done: None)


def odd(kind: str, rate: float = 1.0) -> FaultServer:
    return fault_server(KnownPreference(), faults=FaultMix(rate, kinds=(kind,)))


@pytest.mark.parametrize(
    ("kind", "options", "reason", "advice"),
    [
        ("logprobs_null", {}, "20 parse_error.*no log-probabilities", "top_logprobs: 0"),
        ("thinking", {}, "20 off_label.*'<think>.*thinks first", "reasoning_effort: none.*thinking_tokens"),
        ("thinking", JSON_ONLY, "20 parse_error.*'<think>.*thinks first", "reasoning_effort: none"),
        ("length", JSON_ONLY, "20 parse_error.*cut off", "thinking_tokens"),
        ("refusal", JSON_ONLY, "20 refused.*I can't help", "another model"),
    ],
)
def test_a_judge_without_labels_stops_early_and_says_what_to_set(
    tmp_path: Path, kind: str, options: dict[str, Any], reason: str, advice: str
) -> None:
    with odd(kind) as server:
        with pytest.raises(
            RunFailed, match=f"(?s)'j': 0 of the first 2[0-9] answers.*{advice}.*same command"
        ) as failed:
            ask(server, tmp_path, options)
        assert failed.match(reason.replace("20", "2[0-9]"))
        sent = len(server.paid())
        assert 20 <= sent < 20 + AT_ONCE
        assert len(list(read_rows(tmp_path / "l.sqlite"))) == sent, "nothing that was paid is lost"
        with pytest.raises(RunFailed, match=reason.replace("20", "2[0-9]")):
            ask(server, tmp_path, options)
        assert len(server.paid()) == sent, "the ledger's answers tell"


def test_the_changed_setting_goes_on(tmp_path: Path) -> None:
    with odd("logprobs_null") as server:
        with pytest.raises(RunFailed, match="top_logprobs: 0"):
            ask(server, tmp_path)
        verdicts = ask(server, tmp_path, JSON_ONLY)
    assert {verdict.status for verdict in verdicts} <= {"ok", "tie"}


@pytest.mark.parametrize("kind", ["fenced", "preamble"])
def test_json_in_a_fence_or_after_a_sentence_is_read(tmp_path: Path, kind: str) -> None:
    with odd(kind) as server:
        verdicts = ask(server, tmp_path, JSON_ONLY)
    assert {verdict.status for verdict in verdicts} <= {"ok", "tie"}


def test_below_half_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = iter(["A", "no", "B", "no", "no"] * N)
    with caplog.at_level(logging.WARNING):
        verdicts = run(Letters(lambda request: next(said)), some_pairs(N), tmp_path)
    assert len(verdicts) == N
    assert [record.message.partition(" answers")[0] for record in caplog.records] == [
        "judge 'j': only 8 of the first 20"
    ]


def test_ties_and_what_does_not_apply_are_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Neutral:
        identity, capabilities = "neutral", Capabilities(structured=True)

        async def ask(self, request: Request) -> Answer:
            return Answer('{"verdict": "tie"}' if "0" in request.first else '{"verdict": "not_applicable"}')

    statuses = {verdict.status for verdict in run(Neutral(), some_pairs(N), tmp_path, abstain=True)}
    assert statuses == {"tie", "not_applicable"}
    assert not caplog.records


def test_a_joint_answer_counts_by_its_share_of_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Half:
        identity, capabilities = "half", Capabilities(structured=True)

        async def ask(self, request: Request) -> Answer:
            return Answer('{"1": "A", "2": "both"}')

    run(Half(), some_pairs(N), tmp_path, principles=(BETTER, WORSE), joint=True)
    assert not caplog.records


def test_a_judge_in_this_process_is_warned_of_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    verdicts = run(Batched(lambda request: 2.0), some_pairs(N), tmp_path)
    assert {verdict.status for verdict in verdicts} == {"parse_error"}
    assert len(caplog.records) == 1
