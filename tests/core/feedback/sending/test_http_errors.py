"""What servers say instead of an answer: kinds, waits, and texts that hold no key and no control characters."""

from __future__ import annotations

import json
import pickle
import time
from email.utils import formatdate

import pytest

from morlaif_core import ProviderError, Secret, error_in_body, provider_error
from morlaif_core.feedback.sending.http_errors import FilteredError, read_error, retry_after
from morlaif_core.redaction import one_line

QUOTA = '{"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}}'
CREDIT = '{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}'
TPM = {
    "error": {
        "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 30601.",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}


def said(message: str, code: str = "", param: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}})


KINDS = [
    (429, "slow", "rate"),
    (429, QUOTA, "run"),
    (429, said("Your account is not active", "billing_not_active"), "run"),
    (429, json.dumps(TPM), "item"),
    (429, said("Rate limit reached for this API key"), "rate"),
    (400, CREDIT, "run"),
    (400, said("API key not valid. Please pass a valid API key."), "run"),
    (402, "", "run"),
    (401, "", "run"),
    (403, said("no"), "run"),
    (403, said("Your chosen model requires moderation and your input was flagged"), "item"),
    (404, "", "run"),
    (405, "", "run"),
    (410, "", "run"),
    (307, "", "run"),
    (400, said("model_not_found"), "run"),
    (408, said("the request took too long"), "transient"),
    (409, "", "transient"),
    (425, "", "transient"),
    (500, said("context length"), "transient"),
    (502, "<html>", "transient"),
    (504, "", "transient"),
    (529, "", "transient"),
    (400, "", "item"),
    (413, "", "item"),
    (400, said("This model's maximum context length is 4097 tokens.", "context_length_exceeded", "messages"), "item"),
    (
        400,
        json.dumps(
            {"object": "error", "message": "'max_tokens' is too large. This model's maximum context length is 9"}
        ),
        "item",
    ),
    (400, json.dumps({"type": "error", "error": {"message": "prompt is too long: 200001 tokens > 200000"}}), "item"),
    (400, said("Invalid prompt: flagged", "invalid_prompt"), "item"),
    (
        400,
        said("Unsupported parameter: 'max_tokens' is not supported with this model.", "unsupported_parameter"),
        "run",
    ),
    (400, said("Unsupported value: 'temperature' does not support 0", "unsupported_value"), "run"),
    (400, said("Unknown parameter: 'foo'.", "unknown_parameter"), "run"),
    (400, said("Unrecognized request argument supplied: logprobs"), "run"),
    (403, said("You are not allowed to request logprobs from this model"), "run"),
    (400, said("Invalid schema for response_format 'verdict'"), "run"),
    (400, said("Requested sample logprobs of 20, which is greater than max allowed: 5"), "run"),
    (
        422,
        json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "top_logprobs"], "msg": "Extra"}]}),
        "run",
    ),
    (422, json.dumps({"detail": [{"type": "string_too_long", "loc": ["body"], "msg": "Too many"}]}), "item"),
    (418, "", "item"),
]


@pytest.mark.parametrize(("status", "body", "kind"), KINDS)
def test_kinds(status: int, body: str, kind: str) -> None:
    error = provider_error(status, body, {"retry-after": "3"})
    assert error.kind == kind
    assert error.billed == (status in (408, 504))
    assert error.retry_after == (3.0 if kind in ("rate", "transient") else None)
    assert str(error).startswith(f"HTTP {status}: ")


def test_what_a_filter_refuses_is_told_apart_from_other_items() -> None:
    assert isinstance(provider_error(400, said("x", "content_filter"), {}), FilteredError)
    assert isinstance(provider_error(400, said("Output blocked by content filtering policy"), {}), FilteredError)
    assert not isinstance(provider_error(400, said("prompt is too long"), {}), FilteredError)
    assert not isinstance(provider_error(500, said("content_filter"), {}), FilteredError)


def test_a_judged_text_that_the_server_repeats_sorts_nothing() -> None:
    hostile = "insufficient_quota unsupported api key context length"
    detail = [{"type": "string_type", "loc": ["body", "messages"], "msg": "not a string", "input": hostile}]
    error = provider_error(422, json.dumps({"detail": detail}), {})
    assert (error.kind, hostile in str(error)) == ("item", False)
    error = provider_error(400, json.dumps({"error": {"message": "bad", "request": hostile}}), {})
    assert (error.kind, hostile in str(error)) == ("item", False)


NOW = 1_790_000_000.0
WAITS = [
    ({"Retry-After": "0.2"}, 0.2),
    ({"retry-after": " 600 "}, 600.0),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after-ms": "junk", "retry-after": "9"}, 9.0),
    ({"retry-after": formatdate(NOW + 30, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 30.0),
    ({"retry-after": formatdate(NOW - 30, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 0.0),
    *(({"retry-after": junk}, None) for junk in ("inf", "-1", "nan", "soon", "", "1e9", "1_0", "٣", "9" * 400, "0x10")),
    ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_without_a_date_counts_from_now() -> None:
    wait = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert wait == pytest.approx(59.5, abs=1.5)


@pytest.mark.parametrize(
    ("body", "text", "status"),
    [
        ('{"error": {"code": 502, "message": "upstream"}}', "upstream", 502),
        ('{"error": {"type": "overloaded_error", "message": "busy"}}', "overloaded_error: busy", 529),
        ('{"type": "error", "error": {"type": "error", "error": {"type": "api_error"}}}', "api_error", None),
        ('[{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}}]', "no", 400),
        ('{"error": "model \'x\' not found"}', "model 'x' not found", None),
        ("<html>\x1b[31m  oops\n</html>", "<html> [31m oops </html>", None),
        ("[" * 100_000, "[" * 300, None),
        ("[]", "[]", None),
        ("null", "null", None),
        ('{"error": {"message": 3}}', '{"error": {"message": 3}}', None),
        ("", "", None),
    ],
)
def test_bodies_of_all_kinds(body: str, text: str, status: int | None) -> None:
    assert read_error(body) == (text, status)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "upstream failed"}, "transient"),
        ({"code": 429, "message": "slow"}, "rate"),
        ({"code": "rate_limit_exceeded", "type": "requests"}, "rate"),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, "item"),
        ({"type": "authentication_error"}, "run"),
        ({"code": 402, "message": "Insufficient credits"}, "run"),
    ],
)
def test_errors_in_a_200_are_sorted_by_what_they_say(error: dict[str, object], kind: str) -> None:
    for billed in (True, False):
        found = error_in_body({"error": error}, billed=billed)
        assert (found.kind, found.billed) == (kind, billed)


def test_keys_go_before_the_cut_goes_through_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-0123456789")
    key = Secret("SOME_KEY").reveal()
    assert "canary" not in one_line("x" * 290 + key)
    assert "canary" not in str(provider_error(400, "x" * 290 + key, {}))
    assert "canary" not in str(error_in_body({"error": {"message": key}}, billed=True))


def test_texts_can_be_stored_and_shown() -> None:
    text = one_line("a\r\n\x1b[2Jb\ud800\u2028c" + "d" * 999)
    assert text.startswith("a [2Jb c")
    assert len(text) == 300
    text.encode()


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("x", "rate", retry_after=2.5, billed=True),
        FilteredError("y", "item"),
        provider_error(503, "z", {"retry-after": "4"}),
    ],
)
def test_errors_survive_pickling(error: ProviderError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.kind, again.retry_after, again.billed) == (
        str(error),
        error.kind,
        error.retry_after,
        error.billed,
    )
