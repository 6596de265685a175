"""What `openai` sends and reads: options to requests, answers with their tokens, batches of OpenAI's own kind."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from morlaif_core import Answer, ProviderError, Request
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.requests import asking_of, build_request, request_key
from morlaif_core.testing import Fault, FaultServer
from morlaif_openai import build
from morlaif_openai.chat import chat_body, read_completion
from morlaif_openai.options import OpenAIOptions
from tests.helpers.remote_apis import CANARY, DETAIL, PAIR


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


def options(**given: Any) -> OpenAIOptions:
    return OpenAIOptions.model_validate({"model": "gpt-test"} | given)


def request(chosen: OpenAIOptions, mode: str = "auto", order: str = "ab") -> Request:
    asking = asking_of(chosen.capabilities(), Judging.model_validate({"mode": mode}))
    return build_request(PAIR, [DETAIL], "ab" if order == "ab" else "ba", asking)


def sent(mode: str = "auto", **given: Any) -> dict[str, Any]:
    chosen = options(**given)
    body = chat_body(request(chosen, mode), chosen)
    assert body.pop("model") == "gpt-test"
    assert [turn["role"] for turn in body.pop("messages")] == ["system", "user"]
    return body


LOGPROBS = {"temperature": 0.0, "logprobs": True, "top_logprobs": 20}
LOCAL = "http://127.0.0.1:8000/v1"


def test_one_token_and_its_log_probabilities() -> None:
    assert sent() == {"max_completion_tokens": 1, **LOGPROBS}
    assert sent(top_logprobs=5) == {"max_completion_tokens": 1, **LOGPROBS, "top_logprobs": 5}
    assert sent(temperature=False) == {"max_completion_tokens": 1, "logprobs": True, "top_logprobs": 20}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "max_completion_tokens"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "max_completion_tokens"),
        ({"base_url": LOCAL}, "max_tokens"),
        ({"base_url": "https://notapi.openai.com/v1"}, "max_tokens"),
        ({"base_url": "https://api.openai.com.example.com/v1"}, "max_tokens"),
        ({"base_url": LOCAL, "max_tokens_key": "max_completion_tokens"}, "max_completion_tokens"),
        ({"max_tokens_key": "max_tokens"}, "max_tokens"),
    ],
)
def test_what_the_limit_is_called(given: dict[str, object], key: str) -> None:
    assert sent(**given) == {key: 1, **LOGPROBS}


def test_a_schema_goes_as_a_strict_one() -> None:
    body = sent(top_logprobs=0, temperature=False, thinking_tokens=1000)
    form = body.pop("response_format")
    assert list(body) == ["max_completion_tokens"]
    assert body["max_completion_tokens"] > 1000
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert list(form["json_schema"]["schema"]["properties"]) == ["rationale", "verdict", "confidence"]
    assert json.loads(json.dumps(form)) == form


def test_a_server_that_can_do_nothing_special_is_asked_for_a_letter() -> None:
    assert list(sent(top_logprobs=0, structured=False)) == ["max_completion_tokens", "temperature"]


@pytest.mark.parametrize(
    "given",
    [
        {"top_logprobs": 21},
        {"top_logprobs": -1},
        {"thinking_tokens": 100},
        {"extra": {"logprobs": False}},
        {"extra": {"stream": True}},
        {"max_tokens_key": "tokens"},
    ],
)
def test_options_that_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        options(**given)


def test_identity_and_price() -> None:
    assert build(options(timeout=5)).identity == "openai:api.openai.com/v1:gpt-test"
    assert options().billed_as() == "gpt-test"
    assert options(base_url=LOCAL).billed_as() == "127.0.0.1:8000/v1/gpt-test"
    assert build(options(base_url=LOCAL)).identity == "openai:127.0.0.1:8000/v1:gpt-test"
    assert build(options(extra={"reasoning_effort": "low"})).identity != build(options()).identity


async def _asked(chosen: OpenAIOptions, *requests: Request) -> list[Answer]:
    provider = build(chosen)
    try:
        return [await provider.ask(one) for one in requests]
    finally:
        await provider.aclose()  # type: ignore[attr-defined]


def test_probabilities_are_the_servers() -> None:
    with FaultServer(lambda first, second, question: 0.7, mass=0.9) as server:
        chosen = options(base_url=server.url)
        (answer,) = asyncio.run(_asked(chosen, request(chosen)))
    assert (answer.text, answer.tokens) == ("A", ("A",))
    assert math.exp(answer.top_logprobs[0]["A"]) == pytest.approx(0.7 * 0.9 * 0.9)
    assert len(answer.top_logprobs[0]) == 20


def test_a_rationale_brings_its_tokens_along() -> None:
    with FaultServer(lambda first, second, question: 0.7, mass=0.9) as server:
        chosen = options(base_url=server.url)
        (answer,) = asyncio.run(_asked(chosen, request(chosen, "rationale")))
    assert len(answer.tokens) == len(answer.top_logprobs) > 5
    assert "".join(answer.tokens) == answer.text
    assert answer.tokens[-1].strip() == "A"


def completion(choice: dict[str, Any], **more: Any) -> Answer:
    message = {"message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}
    return read_completion({"model": "m", "choices": [message | choice]} | more)


def position(token: str, logprob: Any, *others: tuple[str, Any]) -> dict[str, Any]:
    top = [{"token": name, "logprob": value} for name, value in others]
    return {"token": token, "logprob": logprob, "top_logprobs": top}


def test_reading_what_servers_make_of_it() -> None:
    read = completion({"message": {"content": [{"type": "text", "text": "A"}, {"type": "image"}]}})
    assert read.text == "A"
    refused = completion({"message": {"content": None, "refusal": "No."}})
    assert (refused.text, refused.finish) == ("No.", "refused")
    assert completion({"finish_reason": None}).finish == "stop"
    assert completion({"finish_reason": "length"}).finish == "length"
    assert completion({"finish_reason": "content_filter"}).finish == "filtered"
    assert completion({"logprobs": None}).top_logprobs == ()
    assert completion({"logprobs": {"content": None}}).tokens == ()
    assert completion({}, model=None).model == ""


def test_tokens_outside_the_top_and_numbers_that_are_none_are_left_out() -> None:
    odd = [("B", -0.5), ("C", -9999.0), ("D", math.nan), ("E", -math.inf), ("A", -9.0)]
    read = completion({"logprobs": {"content": [position("A", -1.0, *odd), position("x", -9999.0)]}})
    assert read.top_logprobs == ({"A": -1.0, "B": -0.5}, {})
    assert read.tokens == ("A", "x")


def test_usage() -> None:
    details = {"cached_tokens": 30, "cache_write_tokens": 20}
    usage = completion({}, usage={"prompt_tokens": 90, "completion_tokens": 2, "prompt_tokens_details": details}).usage
    assert (usage.input, usage.cached, usage.output, usage.written) == (90, 30, 2, 20)
    assert completion({}, usage=None).usage.input == 0
    assert completion({}, usage={"prompt_tokens": None, "prompt_tokens_details": None}).usage.input == 0


def test_a_model_that_broke_off_behind_a_gateway_gave_no_answer() -> None:
    for code, kind in ((502, "transient"), (429, "rate")):
        with pytest.raises(ProviderError) as failed:
            completion({"error": {"code": code, "message": "upstream"}, "finish_reason": "error"})
        assert (failed.value.kind, failed.value.billed) == (kind, True)


def test_advice_names_the_option() -> None:
    hints = {
        "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.": "max_tokens_key",
        "You are not allowed to request logprobs from this model": "top_logprobs: 0",
        "'temperature' does not support 0 with this model": "temperature: false",
        "'response_format' of type 'json_schema' is not supported with this model": "structured: false",
    }
    for message, option in hints.items():
        body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}})
        with FaultServer(faults={0: Fault(400, body)}) as server:
            chosen = options(base_url=server.url)
            with pytest.raises(ProviderError, match=option) as failed:
                asyncio.run(_asked(chosen, request(chosen)))
        assert failed.value.kind == "run"


async def _batches(server: FaultServer) -> tuple[list[str | None], Mapping[str, Answer | ProviderError]]:
    chosen = options(base_url=server.url)
    provider: Any = build(chosen)
    keyed = {request_key(provider.identity, one): one for one in (request(chosen), request(chosen, order="ba"))}
    made = await provider.submit(keyed, name="run-7/1")
    found = [await provider.find(name) for name in ("run-7/1", "run-7/2")]
    assert found[0] == made
    while (results := await provider.fetch(made)) is None:
        await asyncio.sleep(0.02)
    await provider.aclose()
    assert set(results) == set(keyed)
    return found, results


def test_a_batch_is_found_by_its_name() -> None:
    with FaultServer() as server:
        found, results = asyncio.run(_batches(server))
    assert found[1] is None
    assert all(isinstance(answer, Answer) for answer in results.values())


def test_a_batch_is_looked_for_on_all_pages() -> None:
    async def third_page() -> None:
        chosen = options(base_url=server.url)
        provider: Any = build(chosen)
        keyed = {"a" * 64: request(chosen)}
        first = await provider.submit(keyed, name="first")
        for number in range(200):
            await provider.submit(keyed, name=f"other-{number}")
        assert await provider.find("first") == first
        assert await provider.find("second") is None
        await provider.aclose()

    with FaultServer(batch_seconds=100) as server:
        asyncio.run(third_page())


FULL = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
STATES: list[tuple[dict[str, Any], object]] = [
    ({"status": "validating"}, None),
    ({"status": "finalizing"}, None),
    ({"status": "cancelling"}, None),
    ({"status": "failed", "errors": FULL}, "item full.*token_limit_exceeded"),
    ({"status": "failed", "errors": {"data": [{"code": "invalid_json_line", "message": "bad"}]}}, "item None.*bad"),
    ({"status": "failed", "errors": None}, "item None.*failed"),
    ({"id": "x"}, "transient None.*KeyError"),
]


@pytest.mark.parametrize(("state", "seen"), STATES)
def test_states_of_a_batch(state: dict[str, Any], seen: object) -> None:
    async def fetch() -> object:
        provider: Any = build(options(base_url=server.url))
        try:
            made = await provider.submit({"a" * 64: request(options())}, name="x")
            return await provider.fetch(made)
        except ProviderError as error:
            return f"{error.kind} {error.reason}: {error}"
        finally:
            await provider.aclose()

    def faults(number: int, call: dict[str, Any]) -> Fault | None:
        return Fault(body=json.dumps(state)) if call["method"] == "GET" else None

    with FaultServer(batch_faults=faults) as server:
        found = asyncio.run(fetch())
    assert found == seen or (isinstance(found, str) and isinstance(seen, str) and re.match(seen, found)), found


@pytest.mark.parametrize(
    ("path", "status", "seen"),
    [
        ("/files", 503, ("transient", "unsent")),
        ("/batches", 503, ("transient", None)),
        ("/batches/x", 404, ("run", "gone")),
    ],
)
def test_whether_a_batch_was_sent_and_is_still_there(path: str, status: int, seen: tuple[str, str | None]) -> None:
    def faults(number: int, call: dict[str, Any]) -> Fault | None:
        return Fault(status) if call["path"].endswith(path) else None

    async def fails() -> ProviderError:
        provider: Any = build(options(base_url=server.url))
        with pytest.raises(ProviderError) as failed:
            await (provider.fetch("x") if status == 404 else provider.submit({"a" * 64: request(options())}, name="x"))
        await provider.aclose()
        return failed.value

    with FaultServer(batch_faults=faults) as server:
        error = asyncio.run(fails())
    assert ((error.kind, error.reason), error.billed) == (seen, False)


def test_a_batch_for_a_server_that_is_not_there_was_not_sent() -> None:
    with FaultServer() as server:
        url = server.url
    provider: Any = build(options(base_url=url))
    with pytest.raises(ProviderError, match="cannot be reached") as failed:
        asyncio.run(provider.submit({"a" * 64: request(options())}, name="x"))
    assert (failed.value.kind, failed.value.reason) == ("transient", "unsent")


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_what_was_answered_before_a_batch_ended_early_is_kept(status: str) -> None:
    state = {"status": status, "output_file_id": None, "error_file_id": "errors"}
    lines = [
        {"custom_id": "k1", "response": None, "error": {"code": f"batch_{status}", "message": "too late"}},
        {"custom_id": "k2", "response": {"status_code": 400, "body": {"error": {"message": "prompt is too long"}}}},
        {"custom_id": "k3", "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "B"}}]}}},
        {"custom_id": "k4", "response": {"status_code": 200, "body": {"choices": []}}},
        {"custom_id": "k5", "response": {}},
    ]

    async def fetch() -> Mapping[str, Answer | ProviderError]:
        provider: Any = build(options(base_url=server.url))
        try:
            return await provider.fetch("batch")  # type: ignore[no-any-return]
        finally:
            await provider.aclose()

    def faults(number: int, call: dict[str, Any]) -> Fault:
        body = json.dumps(state) if "/batches/" in call["path"] else "\n".join(map(json.dumps, lines)) + "\n{broken"
        return Fault(201, body=body)  # at 200 the server would look for a batch of its own

    with FaultServer(batch_faults=faults) as server:
        results = asyncio.run(fetch())
    kinds = {key: one.kind if isinstance(one, ProviderError) else one.text for key, one in results.items()}
    assert kinds == {"k1": "transient", "k2": "item", "k3": "B", "k4": "transient", "k5": "transient"}
