"""Both API judges, each with its real SDK against a real server: every fault is sorted, and the key is nowhere."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from morlaif_core import (
    Answer,
    ProviderError,
    UserError,
)
from morlaif_core.testing import Fault, FaultServer, check_feedback_provider
from morlaif_core.testing.faultserver import ANSWERS, KINDS, LASTING, PASSING
from tests.helpers.remote_apis import API, CANARY, ask, batch

HELD_PROXIES = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
AMBIGUOUS = "timeout_408 reset_before reset_body hang drip broken_json empty_body error_in_200 no_choices".split()
EXPECTED = {
    **dict.fromkeys(PASSING, "transient"),
    **{name: "rate" for name in PASSING if name.startswith("retry_after")},
    **dict.fromkeys(LASTING, "run"),
    "bad_request_400": "item",
    "too_long_400": "item",
}
FINISHED = {"refusal": "refused", "content_filter": "filtered", "length": "length"}


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_every_fault_is_sorted_and_the_key_is_nowhere(api: API, fault: str, logged: io.StringIO) -> None:
    with FaultServer(faults={0: fault}) as server:
        provider = api.build(api.address(server), timeout=0.4 if fault in ("hang", "drip") else 10)
        error = ask(provider)
        assert len(server.ledger()) == 1, "nothing is tried again here"
    assert isinstance(error, ProviderError)
    assert (error.kind, error.billed) == (EXPECTED[fault], fault in AMBIGUOUS)
    assert error.__cause__ is None
    assert error.__context__ is None
    told = [str(error), repr(error), repr(provider), str(vars(error)), *traceback.format_exception(error)]
    assert CANARY not in "".join(told)
    assert CANARY.encode() not in pickle.dumps(error)
    assert len(logged.getvalue()) > 100, "the SDK tells at DEBUG what it does"
    assert CANARY not in logged.getvalue()


@pytest.mark.parametrize("kind", ANSWERS)
def test_odd_answers_are_answers(api: API, kind: str, logged: io.StringIO) -> None:
    with FaultServer(faults={0: kind}) as server:
        answer = ask(api.build(api.address(server)))
    assert isinstance(answer, Answer), answer
    if kind in FINISHED:
        assert answer.finish == FINISHED[kind]
    if kind == "other_model":
        assert answer.model == "another-model"
    if kind == "usage_null":
        assert (answer.usage.input, answer.usage.output) == (0, 0)
    assert CANARY not in logged.getvalue()


def test_all_kinds_are_covered() -> None:
    assert set(EXPECTED) | set(ANSWERS) == set(KINDS)


@pytest.mark.parametrize("fault", ["retry_after", "retry_after_600", "retry_after_inf", "retry_after_negative"])
def test_waits(api: API, fault: str) -> None:
    with FaultServer(faults={0: fault}) as server:
        error = ask(api.build(api.address(server)))
    assert isinstance(error, ProviderError)
    assert error.retry_after == {"retry_after": 0.2, "retry_after_600": 600.0}.get(fault)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unauthorized_401", ["API_KEY", "'m'", "127.0.0.1"]),
        ("forbidden_403", ["API_KEY"]),
        ("model_not_found_404", ["'m'", "not found", "base_url"]),
        ("quota_429", ["'m'"]),
    ],
)
def test_what_stops_the_run_says_what_to_do(api: API, fault: str, words: list[str]) -> None:
    with FaultServer(faults={0: fault}) as server:
        told = str(ask(api.build(api.address(server))))
    assert not [word for word in words if word not in told]


SHAPES = [
    "[]",
    "null",
    "3",
    '"text"',
    "{}",
    '{"choices": [], "content": null}',
    '{"choices": [3], "content": [3]}',
    '{"choices": [{}], "content": [{}]}',
    '{"choices": "no", "content": "no"}',
    '{"choices": [{"message": null}], "content": [{"type": "text"}]}',
    '{"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{}]}}], "content": {"a": 1}}',
    '{"choices": [{"message": {}, "logprobs": {"content": [{"token": "A", "logprob": "x"}]}}], "content": 1}',
    "<html>login</html>",
    "[" * 5000,
]


@pytest.mark.parametrize("body", SHAPES)
def test_a_200_of_any_other_shape_is_no_answer(api: API, body: str) -> None:
    with FaultServer(faults={0: Fault(body=body)}) as server:
        error = ask(api.build(api.address(server)))
    assert isinstance(error, ProviderError), error
    assert (error.kind, error.billed) == ("transient", True)


def test_nothing_is_bought_where_nobody_listens(api: API) -> None:
    error = ask(api.build("http://127.0.0.1:9"))
    assert isinstance(error, ProviderError)
    assert (error.kind, error.billed) == ("transient", False)
    assert "cannot be reached" in str(error)


def test_redirects_are_not_followed(api: API) -> None:
    with FaultServer() as other:
        away = Fault(307, "", {"location": api.address(other) + "/v1/messages"})
        with FaultServer(faults={0: away}) as server:
            error = ask(api.build(api.address(server)))
        assert not other.ledger()
    assert isinstance(error, ProviderError)
    assert error.kind == "run"
    assert "redirects elsewhere" in str(error)


def test_the_environment_neither_leads_elsewhere_nor_puts_a_proxy_in_between(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in HELD_PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv(api.base_url, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with FaultServer() as server:
        assert isinstance(ask(api.build(api.address(server))), Answer)
    official = api.offer.options.model_validate({"model": "m"})
    provider = api.offer.build(official)
    assert str(provider._client.base_url).rstrip("/") == official.endpoint().url
    asyncio.run(provider.aclose())


def test_a_key_is_needed_unless_the_server_wants_none(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(api.variable)
    with pytest.raises(UserError, match=f"{api.variable} is not set"):
        api.build("http://127.0.0.1:9")
    monkeypatch.setenv(api.variable, CANARY)
    seen: list[Mapping[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_error(401)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    error = ask(api.build(address, api_key=None))
    ask(api.build(address))
    server.shutdown()
    server.server_close()
    without, with_key = (str(sorted(headers.items())) for headers in seen)
    assert CANARY not in without
    assert CANARY in with_key
    assert "none: set api_key" in str(error)


def test_contract(api: API) -> None:
    with FaultServer(ties=0.1) as server:
        options = {"model": "m", "base_url": api.address(server)}
        check_feedback_provider(api.offer, options, ask=True, batches=True)
        assert {line.kind for line in server.ledger()} == {"ok"}


def test_usage_and_model(api: API) -> None:
    with FaultServer() as server:
        answer = ask(api.build(api.address(server)))
        paid = server.paid()
    assert isinstance(answer, Answer)
    assert (answer.usage.input, answer.usage.output) == (paid[0].input, paid[0].output)
    assert answer.usage.input > 50
    assert answer.model == "m"


def test_extra_keys_reach_the_server_alone_and_in_batches(api: API) -> None:
    with FaultServer() as server:
        extra = {"service_tier": "flex", "x": {"y": [1]}}
        batch(api.build(api.address(server), extra=extra), n=1)
        provider = api.build(api.address(server), extra=extra)
        ask(provider)
        sent = [(body["service_tier"], body["x"]) for body in server.requests]
    assert sent == [("flex", {"y": [1]})] * 2
    assert provider.identity.endswith('"x": {"y": [1]}}')


def test_a_parameter_that_the_server_does_not_know_stops_the_run_and_names_the_option(api: API) -> None:
    body = json.dumps(
        {"error": {"message": "json_schema is not supported by this model", "type": "invalid_request_error"}}
    )
    with FaultServer(faults={0: Fault(400, body)}) as server:
        error = ask(api.build(api.address(server)))
    assert isinstance(error, ProviderError)
    assert error.kind == "run"
    assert "set structured: false" in str(error)


@pytest.mark.parametrize("plugin", ["morlaif_openai", "morlaif_anthropic"])
def test_offering_is_light(plugin: str) -> None:
    heavy = ("openai", "anthropic", "httpx2", "torch", "numpy")
    code = (
        f"import sys, {plugin}; {plugin}.morlaif_feedback_providers(); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
