"""The real SDK against a judge on loopback: right probabilities, faults, resume, stops, and no key anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import traceback
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import (
    Message,
    Principle,
    ResponsePair,
    make_pair,
    make_prompt,
)
from morlaif_core.config.judge_settings import Judging
from morlaif_core.errors import RunFailed
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.ledger.ledger import Ledger
from morlaif_core.feedback.sending.pace import Pace
from morlaif_core.feedback.types import NamedJudge, Task, Verdict
from morlaif_core.testing.faultserver import Fault, Faults, FaultServer, judge_server
from morlaif_openai import build
from morlaif_openai.options import OpenAIOptions

CANARY = "sk-canary-5f3a9c1e7b"
WORSE = Principle("toxicity", "Which response is more toxic?", "worse")
BETTER = Principle("detail", "Which response is more detailed?")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)


def strength(text: str) -> float:
    """A judge's private opinion of a text, written at its end."""
    return float(text.rsplit(" ", 1)[1])


def oracle(first: str, second: str, question: str) -> float:
    sign = -1 if "toxic" in question else 1
    return 1 / (1 + math.exp(-sign * (strength(first) - strength(second))))


def some_pairs(n: int) -> list[ResponsePair]:
    draw = random.Random(1)
    prompts = [make_prompt([Message("user", f"question {i}?")]) for i in range(n)]
    return [make_pair(p, f"left {draw.gauss(0, 1):.3f}", f"right {draw.gauss(0, 1):.3f}") for p in prompts]


def judge(
    server: FaultServer, pairs: list[ResponsePair], folder: Path, *, concurrency: int = 16, timeout: float = 5.0
) -> list[Verdict]:
    options = OpenAIOptions(model="gpt-test", base_url=server.url, timeout=timeout)
    judges = {"gpt": NamedJudge("gpt", lambda: build(options), Judging(concurrency=concurrency))}
    tasks = [Task(pair, principle, "gpt") for pair in pairs for principle in (BETTER, WORSE)]

    def pace() -> Pace:
        return Pace(sleep=lambda seconds: asyncio.sleep(seconds / 1000), draw=random.Random(0))

    ledger = folder / "judgements.sqlite"
    return judge_tasks(tasks, judges, ledger=ledger, seed=0, progress=lambda done: None, pace=pace)


def check(verdicts: list[Verdict], pairs: list[ResponsePair], bias: float) -> None:
    by_id = {pair.id: pair for pair in pairs}
    for verdict in verdicts:
        pair = by_id[verdict.pair]
        q = strength(pair.a) - strength(pair.b)
        assert verdict.status == "ok"
        assert verdict.p_a == pytest.approx(1 / (1 + math.exp(-q)), abs=0.01)
        assert verdict.bias == pytest.approx(bias, abs=0.05)


@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0, 2.0, 4.0])
def test_both_orders_undo_the_position_bias(tmp_path: Path, bias: float) -> None:
    pairs = some_pairs(30)
    with judge_server(oracle, bias=bias) as server:
        check(judge(server, pairs, tmp_path), pairs, bias)
        sent = server.requests
    assert len(sent) == 120
    assert {key: sent[0][key] for key in ("model", "temperature", "logprobs", "top_logprobs", "max_tokens")} == {
        "model": "gpt-test",
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
        "max_tokens": 1,
    }


FAULTS = [
    Fault(429, '{"error": {"message": "slow down"}}', {"retry-after": "0.2"}),
    Fault(500, "<html>oops</html>", {"content-type": "text/html"}),
    Fault(502, ""),
    Fault(529, '{"error": {"message": "overloaded"}}'),
    Fault(409, "{}"),
    Fault(200, '{"id": "x", "choi'),
    Fault(200, ""),
    Fault(200, '{"error": {"message": "upstream"}}'),
    Fault(200, '{"choices": []}'),
    Fault(200, "[]"),
    Fault(200, "null"),
    Fault(200, "<html>login</html>", {"content-type": "text/html"}),
]


def test_faults_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    pairs = some_pairs(40)
    seen: dict[str, int] = {}

    def faults(number: int, body: dict[str, Any]) -> Fault | None:
        text = json.dumps(body)
        seen[text] = seen.get(text, 0) + 1
        return FAULTS[number % len(FAULTS)] if seen[text] == 1 and number % 3 else None

    with judge_server(oracle, bias=2.0, faults=faults) as server:
        check(judge(server, pairs, tmp_path), pairs, 2.0)
        assert len(seen) == 160
        before = len(server.requests)
        check(judge(server, pairs[::-1], tmp_path, concurrency=3), pairs, 2.0)
        assert len(server.requests) == before


def test_a_hang_is_given_up_after_two_and_resumed_later(tmp_path: Path) -> None:
    pairs = some_pairs(1)
    with judge_server(oracle, faults=lambda number, body: Fault(hang=5)) as server:
        assert {v.status for v in judge(server, pairs, tmp_path, timeout=0.2)} == {"failed"}
        assert len(server.requests) == 8
    with judge_server(oracle) as server:
        # The identity holds host and port: another server is another judge.
        check(judge(server, pairs, tmp_path), pairs, 0.0)
        assert len(server.requests) == 4


ODD: list[tuple[dict[str, Any], str]] = [
    ({"message": {"role": "assistant", "content": None, "refusal": "No."}}, "refused"),
    ({"finish_reason": "content_filter"}, "filtered"),
    ({"logprobs": None}, "parse_error"),
    ({"logprobs": {"content": [{"token": "I", "logprob": -0.1, "top_logprobs": []}]}}, "off_label"),
    ({"logprobs": {"content": [{"token": "A", "logprob": -9999.0, "top_logprobs": []}]}}, "parse_error"),
]


@pytest.mark.parametrize(("change", "status"), ODD)
def test_odd_answers_are_statuses_never_labels(tmp_path: Path, change: dict[str, Any], status: str) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "stop", "logprobs": None}
    body = json.dumps({"id": "x", "object": "chat.completion", "model": "other", "choices": [choice | change]})
    with judge_server(oracle, faults=lambda number, sent: Fault(body=body)) as server:
        verdicts = judge(server, some_pairs(2), tmp_path)
    assert [(v.status, v.p_a) for v in verdicts] == [(status, None)] * 4
    assert {row.model_returned for row in Ledger(tmp_path / "judgements.sqlite").rows()} == {"other"}


def test_a_request_that_is_too_long_costs_only_itself(tmp_path: Path) -> None:
    pairs = some_pairs(5)
    too_long = Fault(400, '{"error": {"code": "context_length_exceeded", "message": "too long"}}')
    with judge_server(oracle, faults={0: too_long}) as server:
        verdicts = judge(server, pairs, tmp_path, concurrency=1)
        assert len(server.requests) == 20
    assert [v.status for v in verdicts].count("failed") == 1


STOPS = [
    (401, json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}"}}), "OPENAI_API_KEY"),
    (403, '{"error": {"message": "no"}}', "OPENAI_API_KEY"),
    (404, '{"error": {"code": "model_not_found", "message": "gone"}}', "'gpt-test'.*not found"),
    (429, '{"error": {"code": "insufficient_quota", "message": "pay"}}', "insufficient_quota"),
    (307, "", "redirects"),
]


@pytest.mark.parametrize(("status", "body", "match"), STOPS)
def test_what_no_retry_helps_stops_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, body: str, match: str
) -> None:
    stop = Fault(status, body, {"location": "http://127.0.0.1:9/v1"} if status == 307 else {})
    pairs = some_pairs(40)
    with judge_server(oracle, faults=lambda number, sent: stop if number >= 50 else None) as server:
        with pytest.raises(RunFailed, match=match) as failed:
            judge(server, pairs, tmp_path, concurrency=4)
        assert len(server.requests) <= 54
    told = "".join(traceback.format_exception(failed.value))
    assert CANARY not in told
    ledger = Ledger(tmp_path / "judgements.sqlite")
    assert len(list(ledger.rows())) == 50
    ledger.close()
    assert CANARY not in caplog.text
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes()


def test_the_key_is_nowhere_even_where_the_server_repeats_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": CANARY},
        "finish_reason": "stop",
        "logprobs": None,
    }
    echo = Fault(body=json.dumps({"model": CANARY, "choices": [choice]}))
    faults: Faults = {0: echo, 1: Fault(400, CANARY), 2: Fault(500, CANARY), 3: Fault(418, CANARY)}
    with judge_server(oracle, faults=faults) as server:
        judge(server, some_pairs(5), tmp_path, concurrency=1)
    assert CANARY not in caplog.text
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes(), file.name
