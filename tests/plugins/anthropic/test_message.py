"""What `anthropic` sends and reads: system turn, schema, thinking, the cache, stop reasons, usage, batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from morlaif_anthropic import build
from morlaif_anthropic.message import constants, message_body, read_message
from morlaif_anthropic.options import AnthropicOptions
from morlaif_core import Answer, Principle, ProviderError, Request
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.testing import Fault, FaultServer
from tests.helpers.remote_apis import CANARY, DETAIL, PAIR

BRIEF = Principle("brief", "Which response is shorter?")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)


def options(**given: Any) -> AnthropicOptions:
    return AnthropicOptions.model_validate({"model": "claude-test"} | given)


def request(chosen: AnthropicOptions, mode: str = "auto", principle: Principle = DETAIL) -> Request:
    asking = asking_of(chosen.capabilities(), Judging.model_validate({"mode": mode}))
    return build_request(PAIR, [principle], "ab", asking)


def sent(mode: str = "auto", **given: Any) -> dict[str, Any]:
    chosen = options(**given)
    return message_body(request(chosen, mode), chosen) | constants(request(chosen, mode), chosen)


def test_capabilities_are_those_of_claude() -> None:
    can = options(thinking_tokens=9).capabilities()
    assert (can.structured, can.max_top_logprobs, can.temperature, can.thinking_tokens) == (True, 0, False, 9)


def test_the_system_turn_and_the_schema_have_places_of_their_own() -> None:
    body = sent()
    assert body.keys() == {"model", "max_tokens", "messages", "system", "thinking", "output_config"}
    assert body["system"].startswith("You compare two responses")
    assert [turn["role"] for turn in body["messages"]] == ["user"]
    form = body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert list(form["schema"]["properties"]) == ["rationale", "verdict", "confidence"]
    assert form["schema"]["additionalProperties"] is False
    assert json.loads(json.dumps(body)) == body


def test_bounds_that_the_api_does_not_know_become_words() -> None:
    bounded = {"type": "object", "properties": {"p": {"type": "number", "minimum": 0, "maximum": 1}}}
    schema: Mapping[str, object] = bounded | {"required": ["p"], "additionalProperties": False}
    body = constants(Request(PAIR.prompt, "a", "b", DETAIL, schema=schema), options())
    assert "minimum" not in body["output_config"]["format"]["schema"]["properties"]["p"]
    assert "minimum: 0" in json.dumps(body)
    assert bounded["properties"] == {"p": {"type": "number", "minimum": 0, "maximum": 1}}


def test_a_model_thinks_only_where_it_may() -> None:
    plain, thinking = sent(), sent(thinking_tokens=2000)
    assert plain["thinking"] == {"type": "disabled"}
    assert thinking["thinking"] == {"type": "adaptive"}
    assert thinking["max_tokens"] == plain["max_tokens"] + 2000
    assert sent(extra={"thinking": {"type": "between_tools"}})["thinking"] == {"type": "between_tools"}
    assert build(options()).identity == "anthropic:api.anthropic.com:claude-test"
    assert build(options(thinking_tokens=2000)).identity != build(options()).identity


def test_effort_and_schema_go_together() -> None:
    body = sent(extra={"output_config": {"effort": "low"}})
    assert body["output_config"].keys() == {"effort", "format"}
    assert sent("text", extra={"output_config": {"effort": "low"}})["output_config"] == {"effort": "low"}
    assert "output_config" not in sent("text")


@pytest.mark.parametrize(
    "given", [{"top_logprobs": 5}, {"temperature": False}, {"extra": {"system": "x"}}, {"extra": {"max_tokens": 9}}]
)
def test_options_that_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        options(**given)


def test_a_marked_prompt_is_the_same_prompt_in_two_blocks() -> None:
    plain, marked = sent()["messages"], sent(cache=True)["messages"]
    blocks = marked[-1]["content"]
    assert "".join(block["text"] for block in blocks) == plain[-1]["content"]
    assert [block.get("cache_control") for block in blocks] == [{"type": "ephemeral"}, None]
    assert "Fine, thank you" in blocks[0]["text"]
    assert "more detailed" in blocks[1]["text"]
    assert build(options(cache=True)).identity == build(options()).identity


async def _asked(chosen: AnthropicOptions, *requests: Request) -> list[Answer]:
    provider = build(chosen)
    try:
        return [await provider.ask(one) for one in requests]
    finally:
        await provider.aclose()  # type: ignore[attr-defined]


def test_the_second_principle_of_a_pair_is_read_from_the_cache() -> None:
    words = lambda text: [hash(word) % 1000 for word in text.split()]  # noqa: E731
    with FaultServer(tokenizer=words, cache_block=4) as server:
        chosen = options(base_url=server.anthropic_url, cache=True)
        both = [request(chosen), request(chosen, principle=BRIEF)]
        first, second = (answer.usage for answer in asyncio.run(_asked(chosen, *both)))
        unmarked = options(base_url=server.anthropic_url)
        (third,) = (answer.usage for answer in asyncio.run(_asked(unmarked, both[0])))
        assert server.statistics().cached_tokens == second.cached > 10
    assert first.cached == third.cached == third.written == 0
    assert first.written == second.cached
    assert second.input > second.cached + second.written


def test_a_schema_is_followed() -> None:
    with FaultServer(lambda first, second, question: 0.8) as server:
        chosen = options(base_url=server.anthropic_url)
        (answer,) = asyncio.run(_asked(chosen, request(chosen)))
    assert json.loads(answer.text)["verdict"] in ("A", "B")
    assert (answer.finish, answer.model, answer.top_logprobs, answer.tokens) == ("stop", "claude-test", (), ())


def message(**change: Any) -> Answer:
    body = {"model": "m", "content": [{"type": "text", "text": "A"}], "stop_reason": "end_turn", "usage": None}
    return read_message(body | change)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refused"),
        (None, "stop"),
    ],
)
def test_stop_reasons(reason: str | None, finish: str) -> None:
    assert message(stop_reason=reason).finish == finish


def test_thoughts_are_no_part_of_the_answer() -> None:
    thoughts = [{"type": "thinking", "thinking": "B?", "signature": "x"}, {"type": "redacted_thinking", "data": "y"}]
    assert message(content=[*thoughts, {"type": "text", "text": "A"}, {"type": "text", "text": "!"}]).text == "A!"
    assert message(content=thoughts, stop_reason="max_tokens").text == ""


def test_an_empty_message_is_no_answer_but_an_empty_refusal_is_one() -> None:
    assert message(content=[], stop_reason="refusal").finish == "refused"
    with pytest.raises(ProviderError) as failed:
        message(content=[])
    assert (failed.value.kind, failed.value.billed) == ("transient", True)


def test_input_is_all_that_was_read() -> None:
    counted = {"input_tokens": 10, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20, "output_tokens": 3}
    usage = message(usage=counted).usage
    assert (usage.input, usage.cached, usage.written, usage.output) == (100, 70, 20, 3)
    assert message(usage={"input_tokens": 5, "output_tokens": 1}).usage.input == 5


@pytest.mark.parametrize(
    ("message_text", "option"),
    [
        ("thinking.type.disabled is not supported for this model", "thinking_tokens above 0"),
        ("output_config.format: Extra inputs are not permitted", "structured: false"),
    ],
)
def test_advice_names_the_option(message_text: str, option: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message_text}})
    with FaultServer(faults={0: Fault(400, body)}) as server:
        chosen = options(base_url=server.anthropic_url)
        with pytest.raises(ProviderError, match=option) as failed:
            asyncio.run(_asked(chosen, request(chosen)))
    assert failed.value.kind == "run"


LINES: list[dict[str, Any]] = [
    {"custom_id": "k1", "result": {"type": "succeeded", "message": {"content": [{"type": "text", "text": "A"}]}}},
    {"custom_id": "k2", "result": {"type": "expired"}},
    {"custom_id": "k3", "result": {"type": "canceled"}},
    {"custom_id": "k4", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "api_error"}}}},
    {"custom_id": "k5", "result": {"type": "succeeded", "message": {"content": []}}},
    {"custom_id": "k6"},
]


def test_results_come_from_our_server_wherever_it_says_they_are() -> None:
    """The SDK would take `results_url` as it stands, and send the key there."""
    asked: list[str] = []

    def faults(number: int, call: dict[str, Any]) -> Fault:
        asked.append(call["path"])
        state = {
            "processing_status": "ended",
            "results_url": elsewhere.anthropic_url + "/v1/messages/batches/x/results",
        }
        return Fault(201, body=json.dumps(state) if number == 0 else "\n".join(map(json.dumps, LINES)))

    async def fetch() -> Mapping[str, Answer | ProviderError]:
        provider: Any = build(options(base_url=server.anthropic_url))
        try:
            return await provider.fetch("b/1")  # type: ignore[no-any-return]
        finally:
            await provider.aclose()

    seen: list[object] = []
    away = FaultServer(batch_faults=lambda number, call: seen.append(call))
    with away as elsewhere, FaultServer(batch_faults=faults) as server:
        results = asyncio.run(fetch())
    assert not seen
    assert len(asked) == 2
    kinds = {key: one.kind if isinstance(one, ProviderError) else one.text for key, one in results.items()}
    assert kinds == {"k1": "A", **dict.fromkeys(("k2", "k3", "k4", "k5", "k6"), "transient")}


@pytest.mark.parametrize(
    ("call", "status", "seen"),
    [("submit", 529, ("transient", None)), ("fetch", 404, ("run", "gone")), (None, 0, ("transient", "unsent"))],
)
def test_whether_a_batch_was_sent_and_is_still_there(
    call: str | None, status: int, seen: tuple[str, str | None]
) -> None:
    async def fails() -> ProviderError:
        chosen = options(base_url=server.anthropic_url)
        provider: Any = build(chosen)
        keyed = {"a" * 64: request(chosen)}
        with pytest.raises(ProviderError) as failed:
            await (provider.fetch("x") if call == "fetch" else provider.submit(keyed, name="x"))
        await provider.aclose()
        return failed.value

    with FaultServer(batch_faults=lambda number, told: Fault(status)) as server:
        error = asyncio.run(fails()) if call else None
    error = error or asyncio.run(fails())  # the server has gone
    assert ((error.kind, error.reason), error.billed) == (seen, False)


def test_no_name_is_stored() -> None:
    provider: Any = build(options())
    with pytest.raises(ProviderError, match="no name") as told:
        asyncio.run(provider.find("run-1"))
    assert told.value.kind == "item"
