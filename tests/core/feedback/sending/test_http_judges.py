"""What judges behind an HTTP API share: options, address, key, and errors that tell what to do and hold no key."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from morlaif_core import (
    Answer,
    Endpoint,
    ProviderError,
    RemoteOptions,
    Secret,
    UserError,
    json_lines,
    provider_error,
    read_body,
    token_count,
)
from morlaif_core.feedback.sending.http_errors import FilteredError

KEY = "canary-0123456789"


class Options(RemoteOptions):
    official: ClassVar[str] = "https://api.example.com/v1"
    taken: ClassVar[frozenset[str]] = frozenset({"model"})


def endpoint(**changes: Any) -> Endpoint:
    given: dict[str, Any] = {
        "url": "https://h.example:8/v1/",
        "model": "m",
        "api_key": Secret("SOME_KEY"),
        "timeout": 0.1,
    }
    return Endpoint(**(given | changes))


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://example.com/v1"},
        {"base_url": "http://127.0.0.1.example.com/v1"},
        {"base_url": "http://10.0.0.1:8000"},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "127.0.0.1:8000/v1"},
        {"base_url": "https://user:word@example.com/v1"},
        {"base_url": "https://example.com/v1?key=x"},
        {"base_url": "https://example.com/v1#x"},
        {"base_url": ""},
        {"api_key": "sk-1234567890abcdef"},
        {"model": ""},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"extra": {"model": "other"}},
        {"extra": {"x": datetime.date(2026, 1, 1)}},
        {"extra": {"x": float("nan")}},
        {"modle": "n"},
    ],
)
def test_options_that_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"model": "m"} | options)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_clear_text_and_no_proxy_on_this_machine_only(host: str) -> None:
    assert Options(model="m", base_url=f"http://{host}:8000/v1").endpoint().local
    assert not Options(model="m", base_url="https://example.com").endpoint().local


def test_what_is_billed_and_what_an_answer_depends_on() -> None:
    plain = Options(model="gpt", base_url=None)
    assert (plain.billed_as(), plain.identity("api")) == ("gpt", "api:api.example.com/v1:gpt")
    assert Options(model="gpt", base_url="https://api.example.com/v1/").billed_as() == "gpt"
    other = Options(model="gpt", base_url="http://localhost:80/v1/", timeout=3)
    assert (other.billed_as(), other.identity("api")) == ("localhost:80/v1/gpt", "api:localhost:80/v1:gpt")
    more = Options(model="gpt", extra={"b": 1, "a": {"c": None}}, thinking_tokens=5)
    assert more.identity("api") == 'api:api.example.com/v1:gpt:{"a": {"c": null}, "b": 1, "thinking_tokens": 5}'


@pytest.mark.parametrize("value", ["", "two words", "line\n", "ümlaut", "\x1b[0m"])
def test_a_variable_that_holds_no_key_is_named_but_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(UserError, match="SOME_KEY") as failed:
        endpoint().key()
    assert not value or value not in str(failed.value)
    assert failed.value.__cause__ is None


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    assert endpoint().key() == KEY
    assert KEY not in repr(endpoint())
    assert endpoint(api_key=None).key() == ""
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(UserError, match="SOME_KEY is not set"):
        endpoint().key()


class Response:
    status_code, text, headers = 401, f"wrong key {KEY}", {"x": KEY}


class SDKError(Exception):
    """What SDKs raise: it holds the answer, and with it the request and the key."""

    response = Response()


def fails_with(error: Exception) -> Callable[[], Any]:
    async def send() -> Answer:
        raise error

    return send


async def never() -> Answer:
    await asyncio.sleep(9)
    return Answer()


async def chained() -> Answer:
    try:
        raise SDKError(KEY)
    except SDKError as error:
        raise ProviderError("odd", "transient", billed=True) from error


def failure(send: Callable[[], Any]) -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        asyncio.run(endpoint(hints={"logprobs": "set x: 0"}).ask(send()))
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
    assert KEY not in str(failed.value)
    return failed.value


FAILURES = [
    (
        fails_with(SDKError(KEY)),
        "run",
        False,
        r"'m' at h.example:8/v1, key from the variable SOME_KEY: HTTP 401: wrong",
    ),
    (fails_with(ConnectionRefusedError(111, "refused")), "transient", False, "cannot be reached .*refused"),
    (fails_with(socket.gaierror(-2, "Name or service not known")), "transient", False, "Name or service"),
    (fails_with(ConnectionResetError()), "transient", True, "broke off"),
    (fails_with(BrokenPipeError()), "transient", True, "broke off"),
    (fails_with(TimeoutError()), "transient", True, "within 0.1 s"),
    (never, "transient", True, "within 0.1 s"),
    (chained, "transient", True, "odd"),
    (fails_with(KeyError(f"oops {KEY}")), "run", False, r"unexpected KeyError at test_http_judges.py:\d+"),
    (fails_with(provider_error(400, "Unsupported: logprobs", {})), "run", False, r"HTTP 400: .*\(set x: 0\)"),
    (
        fails_with(provider_error(404, "gone", {})),
        "run",
        False,
        "not found there; check judges.NAME.model and base_url",
    ),
    (fails_with(provider_error(302, "", {})), "run", False, "redirects elsewhere; put the real address into base_url"),
    (fails_with(provider_error(429, "", {"retry-after": "7"})), "rate", False, "HTTP 429"),
]


@pytest.mark.parametrize(("send", "kind", "billed", "match"), FAILURES)
def test_whatever_goes_wrong_is_a_provider_error(
    send: Callable[[], Any], kind: str, billed: bool, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    endpoint().key()  # from now on it is redacted
    error = failure(send)
    assert (error.kind, error.billed) == (kind, billed)
    assert re.search(match, str(error)), str(error)
    assert error.retry_after == (7 if kind == "rate" else None)


def test_a_stopped_run_is_no_error_of_the_provider() -> None:
    async def stopped() -> None:
        task = asyncio.create_task(endpoint(timeout=9).call(never()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())


def test_an_answer_of_the_filter_is_an_answer() -> None:
    refused = fails_with(FilteredError("HTTP 400: content_filter", "item"))
    assert asyncio.run(endpoint().ask(refused())) == Answer(text="HTTP 400: content_filter", finish="filtered")


def read(body: dict[str, Any]) -> Answer:
    return Answer(text=body["choices"][0]["text"].strip())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "JSONDecodeError"),
        ("{", "JSONDecodeError"),
        ("[]", "no object"),
        ("null", "no object"),
        (b"\xff\xfe\xfd", "Decode"),
        ("[" * 100_000, "RecursionError|JSONDecodeError"),
        ('{"choices": null}', "TypeError"),
        ('{"choices": []}', "IndexError"),
        ('{"choices": [{}]}', "KeyError"),
        ('{"choices": [{"text": 3}]}', "AttributeError"),
        ('{"error": "upstream"}', "HTTP 500: upstream"),
    ],
)
def test_broken_bodies_may_have_been_paid_for(content: str | bytes, match: str) -> None:
    with pytest.raises(ProviderError, match=match) as failed:
        read_body(content, read)
    assert (failed.value.kind, failed.value.billed) == ("transient", True)


def test_bodies_that_hold_an_answer() -> None:
    body = {"choices": [{"text": " A "}], "error": None}
    assert read_body(body, read) == read_body('{"choices": [{"text": "A"}]}', read) == Answer(text="A")


def test_entries_of_a_batch_are_settled_one_by_one() -> None:
    def raising(error: Exception) -> Callable[[dict[str, Any]], Answer]:
        def fail(entry: dict[str, Any]) -> Answer:
            raise error

        return fail

    assert endpoint().settle({"choices": [{"text": "B"}]}, read) == Answer(text="B")
    assert endpoint().settle({}, raising(FilteredError("f", "item"))) == Answer(text="f", finish="filtered")
    for error, kind in ((KeyError("x"), "transient"), (provider_error(404, "gone", {}), "run")):
        settled = endpoint().settle({}, raising(error))
        assert isinstance(settled, ProviderError)
        assert settled.kind == kind
        assert settled.__traceback__ is None


def test_json_lines_leave_out_what_is_broken() -> None:
    text = '{"a": 1}\n\n{"a": \n[1]\n{"a": "\u2028"}\r\n{"b": 2}'
    assert list(json_lines(text)) == [{"a": 1}, {"a": "\u2028"}, {"b": 2}]
    assert list(json_lines(text.encode())) == list(json_lines(text))


@pytest.mark.parametrize(
    ("value", "count"), [(3, 3), (0, 0), (-1, 0), (True, 0), (2.0, 0), ("3", 0), (None, 0), (10**30, 0)]
)
def test_token_counts(value: object, count: int) -> None:
    assert token_count(value) == count
