"""The fault server's faults: what each does to the real SDKs, and the ledger that says what was paid."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from morlaif_core.testing.faultserver import (
    ANSWERS,
    KINDS,
    LASTING,
    PASSING,
    Fault,
    FaultMix,
    fault_server,
    named,
    read_lines,
)
from tests.helpers.sdk_requests import KEY, anthropic_of, ask, chat_body, openai_of, turns

APIS = ("openai", "anthropic")
SDK: dict[str, Any] = {"openai": openai, "anthropic": anthropic}
# kind -> (status, what OpenAI's SDK raises, what Anthropic's raises); where the names differ the SDKs do.
STATUS = {
    **{kind: (429, "RateLimitError", "RateLimitError") for kind in PASSING if kind.startswith("retry_after")},
    "timeout_408": (408, "APIStatusError", "RequestTimeoutError"),
    "conflict_409": (409, "ConflictError", "ConflictError"),
    "error_500": (500, "InternalServerError", "InternalServerError"),
    "html_502": (502, "InternalServerError", "InternalServerError"),
    "unavailable_503": (503, "InternalServerError", "ServiceUnavailableError"),
    "overloaded_529": (529, "InternalServerError", "OverloadedError"),
    "bad_request_400": (400, "BadRequestError", "BadRequestError"),
    "too_long_400": (400, "BadRequestError", "BadRequestError"),
    "unauthorized_401": (401, "AuthenticationError", "AuthenticationError"),
    "forbidden_403": (403, "PermissionDeniedError", "PermissionDeniedError"),
    "model_not_found_404": (404, "NotFoundError", "NotFoundError"),
    "quota_429": (429, "RateLimitError", "PaymentRequiredError"),
}
BROKEN = {"broken_json": json.JSONDecodeError, "empty_body": json.JSONDecodeError}
SILENT = ("drip", "error_in_200", "no_choices")  # the SDKs take these for answers


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", STATUS)
def test_an_error_is_what_the_sdk_makes_of_its_status(kind: str, api: str) -> None:
    status, *names = STATUS[kind]
    status = 402 if (kind, api) == ("quota_429", "anthropic") else status
    with fault_server(faults={0: kind}) as server:
        with pytest.raises(getattr(SDK[api], names[APIS.index(api)])) as failed:
            ask(server, api)
        ask(server, api)
    assert failed.value.status_code == status
    assert failed.value.response.headers.get("retry-after") is not None or "retry-after" not in KINDS[kind].headers
    assert [(line.kind, line.status, line.billed, line.attempt) for line in server.ledger()] == [
        (kind, status, False, 0),
        ("ok", 200, True, 1),
    ]


def test_the_codes_that_clients_look_for() -> None:
    with fault_server(
        faults=dict(enumerate(("quota_429", "model_not_found_404", "too_long_400", "html_502")))
    ) as server:
        bodies = []
        for _ in range(4):
            with pytest.raises(openai.APIStatusError) as failed:
                ask(server, "openai")
            bodies.append(failed.value.response.text)
    codes = [json.loads(body)["error"]["code"] for body in bodies[:3]]
    assert codes == ["insufficient_quota", "model_not_found", "context_length_exceeded"]
    assert bodies[3].startswith("<html>")


def test_retry_after_in_every_form() -> None:
    kinds = [kind for kind in PASSING if kind.startswith("retry_after")]
    seen = {}
    with fault_server(faults=dict(enumerate(kinds))) as server:
        for kind in kinds:
            with pytest.raises(openai.RateLimitError) as failed:
                ask(server, "openai")
            seen[kind] = failed.value.response.headers.get("retry-after")
    ahead = parsedate_to_datetime(seen.pop("retry_after_date")).timestamp() - time.time()
    assert 0 < ahead <= 2
    assert list(seen.values()) == ["0.2", "600", "inf", "-1", "soon", None]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("kind", "cause"), [("reset_before", "ReadError"), ("reset_body", "ReadError"), ("hang", "ReadTimeout")]
)
def test_connections_that_break(kind: str, cause: str, api: str) -> None:
    with fault_server(faults={0: kind}) as server, pytest.raises(SDK[api].APIConnectionError) as failed:
        ask(server, api, timeout=0.2)
    assert type(failed.value.__cause__).__name__ == cause
    assert isinstance(failed.value, SDK[api].APITimeoutError) == (kind == "hang")
    assert [line.billed for line in server.ledger()] == [kind != "reset_before"]


def test_a_hang_is_sent_and_billed_again_by_the_sdks_own_retries() -> None:
    with fault_server(faults=lambda number, body: named("hang")) as server, pytest.raises(openai.APITimeoutError):
        openai_of(server, timeout=0.1, retries=1).chat.completions.create(**chat_body(turns()))
    assert [(line.attempt, line.billed) for line in server.ledger()] == [(0, True), (1, True)]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_bodies_raise_what_is_no_error_of_the_sdk(kind: str, api: str) -> None:
    with fault_server(faults={0: kind}) as server, pytest.raises(BROKEN[kind]):
        ask(server, api)
    assert [line.billed for line in server.ledger()] == [True]


@pytest.mark.parametrize("api", APIS)
def test_what_the_sdks_take_for_answers(api: str) -> None:
    field = {"openai": "choices", "anthropic": "content"}[api]
    drip = replace(named("drip"), drip=0.4)
    with fault_server(faults={0: drip, 1: "error_in_200", 2: "no_choices"}) as server:
        started = time.monotonic()
        answered = ask(server, api, timeout=0.3)  # no single wait is that long
        took = time.monotonic() - started
        upstream, nothing = ask(server, api), ask(server, api)
    assert getattr(answered, field)
    assert took > 0.3
    assert getattr(upstream, field) is None
    assert "upstream failed" in str(upstream.error)
    assert getattr(nothing, field) == []
    assert [(line.kind, line.billed) for line in server.ledger()] == [(kind, True) for kind in SILENT]


def test_odd_answers_of_openai() -> None:
    said: dict[str, Any] = {}
    with fault_server(lambda first, second, question: 0.8, faults=dict(enumerate(ANSWERS))) as server:
        for kind in ANSWERS:
            said[kind] = ask(server, "openai")
    choice = {kind: answer.choices[0] for kind, answer in said.items()}
    tops = {kind: _top(one) for kind, one in choice.items()}
    assert (choice["refusal"].message.content, choice["refusal"].finish_reason) == (None, "stop")
    assert choice["refusal"].message.refusal
    assert (choice["content_filter"].message.content, choice["content_filter"].finish_reason) == ("", "content_filter")
    assert (choice["length"].message.content, choice["length"].finish_reason) == ("", "length")
    assert (choice["logprobs_null"].message.content, choice["logprobs_null"].logprobs) == ("A", None)
    assert choice["label_a_missing"].message.content == "B"
    assert not any("A" in token and token != "Answer" for token in tops["label_a_missing"] if token != "As")
    assert {"A", " A"} <= tops["label_b_missing"].keys()
    assert not any("B" in token for token in tops["label_b_missing"] if token != "Both")
    assert {token for token, p in tops["outside"].items() if p == -9999.0} == {"A", " A", "**A"}
    assert "A" not in tops["odd_spelling"]
    assert {"**A", "(A", "A.", "ĠA", "▁A"} <= tops["odd_spelling"].keys()
    assert (said["other_model"].model, said["usage_null"].usage) == ("another-model", None)
    assert [(line.kind, line.billed) for line in server.ledger()] == [(kind, True) for kind in ANSWERS]


def _top(choice: Any) -> dict[str, float]:
    positions = choice.logprobs.content if choice.logprobs else ()
    return {entry.token: entry.logprob for position in positions for entry in position.top_logprobs}


def test_odd_answers_of_anthropic() -> None:
    kinds = ("refusal", "length", "odd_spelling", "other_model", "usage_null", "content_filter")
    with fault_server(lambda first, second, question: 1.0, faults=dict(enumerate(kinds))) as server:
        refused, short, spelt, other, unused = (ask(server, "anthropic") for _ in kinds[:-1])
        with pytest.raises(anthropic.BadRequestError, match="content filtering"):
            ask(server, "anthropic")
    assert (refused.stop_reason, short.stop_reason, short.content) == ("refusal", "max_tokens", [])
    assert (spelt.content[0].text, other.model, unused.usage) == ("**A", "another-model", None)
    assert [line.billed for line in server.ledger()] == [True] * 5 + [False]


def test_scripts_by_function_and_by_number() -> None:
    own = Fault(418, '{"mine": 1}', {"x-mine": "yes"}, billed=True)
    with fault_server(faults=lambda number, body: own if body["model"] == "bad" else None) as server:
        ask(server, "openai")
        with pytest.raises(openai.APIStatusError) as failed:
            ask(server, "openai", model="bad")
    assert (failed.value.status_code, failed.value.response.headers["x-mine"]) == (418, "yes")
    assert [(line.kind, line.billed) for line in server.ledger()] == [("ok", True), ("scripted", True)]
    with pytest.raises(ValueError, match="no kind of fault is called 'oops'"):
        named("oops")


def test_a_mix_hits_its_share_of_attempts_evenly_and_is_the_same_in_every_run() -> None:
    kinds = ("error_500", "hang", "refusal", "unauthorized_401")
    mix = FaultMix(0.4, 7, kinds)
    drawn = [mix.draw(f"body {n}", 0) for n in range(8000)]
    counts = Counter(fault.kind for fault in drawn if fault)
    # Each kind hits 10 % of 8,000: standard deviation 27.
    assert all(abs(counts[kind] - 800) < 110 for kind in kinds)
    assert drawn == [FaultMix(0.4, 7, kinds).draw(f"body {n}", 0) for n in range(8000)]
    assert drawn != [FaultMix(0.4, 8, kinds).draw(f"body {n}", 0) for n in range(8000)]


def test_passing_kinds_pass_and_the_others_stay() -> None:
    mix = FaultMix(0.5, 1, ("error_500", "refusal"), hang=9)
    for n in range(200):
        kinds = [fault.kind if (fault := mix.draw(f"body {n}", attempt)) else "" for attempt in range(12)]
        assert "refusal" not in kinds or set(kinds) == {"refusal"}
        assert "refusal" in kinds or "" in kinds
    capped = FaultMix(0.9, 1, PASSING, most=2, hang=9, drip=8)
    drawn = [[capped.draw(f"body {n}", attempt) for attempt in range(12)] for n in range(300)]
    assert max(sum(fault is not None for fault in faults) for faults in drawn) == 2
    by_kind = {fault.kind: fault for faults in drawn for fault in faults if fault}
    assert set(by_kind) == set(PASSING)
    assert (by_kind["hang"].hang, by_kind["drip"].drip, by_kind["error_500"].hang) == (9, 8, 0)
    for wrong in ({"rate": 1.5}, {"kinds": ("oops",)}, {"kinds": ()}):
        with pytest.raises(ValueError, match="rate"):
            FaultMix(**wrong)  # type: ignore[arg-type]


def test_the_server_draws_by_body_and_attempt(tmp_path: Path) -> None:
    mix = FaultMix(0.6, 3, ("error_500", "no_choices", "refusal"), most=2)
    with fault_server(faults=mix, ledger_file=tmp_path / "paid.jsonl") as server:
        client = openai_of(server)
        for n in range(40):
            for _ in range(3):
                try:
                    client.chat.completions.create(**chat_body(turns(f"answer {n}")))
                except openai.InternalServerError:
                    pass
    lines = server.ledger()
    assert read_lines(tmp_path / "paid.jsonl") == lines
    assert {line.attempt for line in lines} == {0, 1, 2}
    expected = [mix.draw(line.key, line.attempt) for line in lines]
    assert [line.kind for line in lines] == [fault.kind if fault else "ok" for fault in expected]
    assert {line.kind for line in lines} == {"ok", "error_500", "no_choices", "refusal"}
    assert server.paid() == [line for line in lines if line.kind != "error_500"]
    assert all((line.input > 20 and line.output == 1) == line.billed for line in lines)


def test_the_ledger_is_written_before_the_answer(tmp_path: Path) -> None:
    file = tmp_path / "paid.jsonl"
    with fault_server(latency=0.5, ledger_file=file) as server:
        asking = threading.Thread(target=lambda: ask(server, "openai"))
        asking.start()
        while not (lines := read_lines(file)):
            time.sleep(0.005)
        assert asking.is_alive()
        asking.join()
        assert lines == server.paid()


def test_the_key_is_kept_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="asyncio")
    kinds = [*PASSING[7:10], "broken_json", *LASTING]
    with fault_server(faults=dict(enumerate(kinds)), ledger_file=tmp_path / "paid.jsonl") as server:
        for client in (openai_of(server).chat.completions, anthropic_of(server).messages):
            for _ in kinds:
                try:
                    client.create(model="m", messages=turns()[1:], max_tokens=1)  # type: ignore[call-overload]
                except (openai.APIError, anthropic.APIError, ValueError):
                    pass
        kept = json.dumps(server.requests) + repr(server) + repr(vars(server)) + repr(server.ledger())
    assert len(server.requests) == 2 * len(kinds)
    assert KEY not in kept + (tmp_path / "paid.jsonl").read_text() + caplog.text + "".join(capfd.readouterr())
