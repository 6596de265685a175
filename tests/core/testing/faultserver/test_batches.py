"""The batch APIs of the fault server, through the real SDKs: submit, wait, fetch, and what goes wrong meanwhile."""

from __future__ import annotations

import json
import time
from typing import Any

import anthropic
import openai
import pytest

from morlaif_core.testing.faultserver import Fault, FaultMix, KnownPreference, fault_server
from tests.helpers.sdk_requests import anthropic_of, chat_body, message_body, openai_of, schema_of, turns

ENDPOINT: Any = "/v1/chat/completions"
KEYS = [f"{n:064x}" for n in range(12)]


def upload(client: openai.OpenAI, bodies: dict[str, Any], url: str = ENDPOINT) -> Any:
    lines = [json.dumps({"custom_id": k, "method": "POST", "url": url, "body": body}) for k, body in bodies.items()]
    return client.files.create(file=("batch.jsonl", "\n".join(lines).encode()), purpose="batch")


def submit(client: openai.OpenAI, bodies: dict[str, Any], name: str = "one") -> Any:
    file = upload(client, bodies)
    return client.batches.create(
        input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata={"morlaif": name}
    )


def chats(n: int = 12) -> dict[str, Any]:
    return {KEYS[i]: chat_body(turns(f"answer {i}")) for i in range(n)}


def messages(n: int = 12) -> list[Any]:
    form = {"type": "json_schema", "schema": schema_of("structured")}
    asked = [message_body(turns(f"answer {i}", mode="structured"), temperature=0) for i in range(n)]
    return [{"custom_id": KEYS[i], "params": {**asked[i], "output_config": {"format": form}}} for i in range(n)]


def wait(retrieve: Any, batch: Any) -> Any:
    """Poll until a batch is done."""
    while True:
        now = retrieve(batch.id)
        if "in_progress" not in (getattr(now, "status", ""), getattr(now, "processing_status", "")):
            return now
        time.sleep(0.01)


def lines(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file).text.splitlines()] if file else []


def test_openai_answers_a_batch_as_it_answers_one_by_one() -> None:
    with fault_server(KnownPreference(2), batch_seconds=0.1) as server:
        client = openai_of(server)
        batch = submit(client, chats())
        assert (batch.status, batch.output_file_id, server.paid()) == ("in_progress", None, [])
        done = wait(client.batches.retrieve, batch)
        rows = lines(client, done.output_file_id)
        singly = {key: client.chat.completions.create(**body) for key, body in chats().items()}
    assert (done.status, done.error_file_id, done.metadata) == ("completed", None, {"morlaif": "one"})
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (12, 12, 0)
    assert [row["custom_id"] for row in rows] != KEYS
    assert sorted(row["custom_id"] for row in rows) == KEYS
    for row in rows:
        assert row["response"]["status_code"] == 200
        assert row["response"]["body"]["choices"] == singly[row["custom_id"]].to_dict()["choices"]
    assert [line.batch for line in server.paid()] == [batch.id] * 12 + [None] * 12
    assert server.requests[:12] == list(chats().values())


def test_anthropic_answers_a_batch_as_it_answers_one_by_one() -> None:
    with fault_server(KnownPreference(2), batch_seconds=0.1) as server:
        client = anthropic_of(server).messages
        batch = client.batches.create(requests=messages())
        assert (batch.processing_status, batch.results_url, batch.request_counts.processing) == (
            "in_progress",
            None,
            12,
        )
        done = wait(client.batches.retrieve, batch)
        rows = list(client.batches.results(batch.id))
        singly = {}
        for request in messages():
            asked = dict(request["params"])
            more = {"temperature": asked.pop("temperature")}
            singly[request["custom_id"]] = client.create(**asked, extra_body=more)
    assert (done.processing_status, done.request_counts.succeeded) == ("ended", 12)
    assert [row.custom_id for row in rows] != KEYS
    assert sorted(row.custom_id for row in rows) == KEYS
    for row in rows:
        assert row.result.type == "succeeded"
        assert row.result.message.content == singly[row.custom_id].content
        assert json.loads(row.result.message.content[0].text)["verdict"] in ("A", "B")


ENTRY_FAULTS = dict(enumerate(["error_500", "hang", "broken_json", "refusal", "unauthorized_401", "reset_before"]))


def test_faults_of_single_entries_at_openai() -> None:
    with fault_server(faults=ENTRY_FAULTS) as server:
        client = openai_of(server)
        bodies = chats(7) | {KEYS[7]: {"model": "m", "messages": []}}
        done = wait(client.batches.retrieve, submit(client, bodies))
        good, bad = lines(client, done.output_file_id), lines(client, done.error_file_id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("expired", 2, 5)
    found = {row["custom_id"]: row for row in [*good, *bad]}
    assert sorted(found) == [KEYS[n] for n in (0, 1, 3, 4, 5, 6, 7)]  # that of broken_json is in neither file
    codes = {n: found[KEYS[n]]["response"]["status_code"] for n in (0, 3, 4, 6, 7)}
    assert codes == {0: 500, 3: 200, 4: 401, 6: 200, 7: 400}
    assert found[KEYS[4]]["response"]["body"]["error"]["code"] == "invalid_api_key"
    assert [found[KEYS[n]]["error"]["code"] for n in (1, 5)] == ["batch_expired"] * 2
    assert found[KEYS[3]]["response"]["body"]["choices"][0]["message"]["refusal"]
    assert [line.kind for line in server.paid()] == ["refusal", "ok"]
    assert len(server.ledger()) == 8


def test_faults_of_single_entries_at_anthropic() -> None:
    with fault_server(faults=ENTRY_FAULTS) as server:
        client = anthropic_of(server).messages
        done = wait(client.batches.retrieve, client.batches.create(requests=messages(7)))
        rows = {row.custom_id: row.result for row in client.batches.results(done.id)}
    counts = done.request_counts
    assert (counts.succeeded, counts.errored, counts.expired, counts.processing) == (2, 2, 2, 0)
    types = {KEYS.index(key): result.type for key, result in rows.items()}
    assert types == {0: "errored", 1: "expired", 3: "succeeded", 4: "errored", 5: "expired", 6: "succeeded"}
    assert rows[KEYS[4]].error.error.type == "authentication_error"
    assert rows[KEYS[3]].message.stop_reason == "refusal"


def test_a_mix_hits_entries_as_it_hits_requests() -> None:
    mix = FaultMix(0.5, 4, ("error_500", "refusal"))
    with fault_server(faults=mix) as server:
        client = openai_of(server)
        done = wait(client.batches.retrieve, submit(client, chats()))
        wait(client.batches.retrieve, submit(client, chats()))
    drawn = [mix.draw(line.key, line.attempt) for line in server.ledger()]
    assert [line.kind for line in server.ledger()] == [fault.kind if fault else "ok" for fault in drawn]
    assert {line.kind for line in server.ledger()} == {"ok", "error_500", "refusal"}
    assert [line.attempt for line in server.ledger()] == [0] * 12 + [1] * 12
    assert done.request_counts.failed == sum(line.kind == "error_500" for line in server.ledger()[:12])


def test_batches_are_listed_newest_first_in_pages() -> None:
    with fault_server() as server:
        client, other = openai_of(server), anthropic_of(server).messages
        made = [submit(client, chats(1), name=f"batch {n}").id for n in range(5)]
        assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
        found = [batch.id for batch in client.batches.list(limit=2) if batch.metadata == {"morlaif": "batch 1"}]
        assert found == [made[1]]
        theirs = [other.batches.create(requests=messages(1)).id for _ in range(5)]
        assert [batch.id for batch in other.batches.list(limit=2)] == theirs[::-1]


def test_a_batch_that_is_refused_as_a_whole() -> None:
    with fault_server() as server:
        client, other = openai_of(server), anthropic_of(server).messages
        twice = client.files.create(file=("x", b'{"custom_id": "1", "method": "POST"}\n' * 2), purpose="batch")
        wrong = upload(client, chats(2), url="/v1/embeddings")
        create: dict[str, Any] = {"endpoint": ENDPOINT, "completion_window": "24h"}
        for file in (twice, wrong):
            failed = wait(client.batches.retrieve, client.batches.create(input_file_id=file.id, **create))
            assert (failed.status, failed.output_file_id) == ("failed", None)
            assert [error.code for error in failed.errors.data] == ["invalid_file"]
        with pytest.raises(openai.BadRequestError, match="file-7"):
            client.batches.create(input_file_id="file-7", **create)
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_7")
        for bad in ([messages(1)[0]] * 2, [], [{**messages(1)[0], "custom_id": "a b"}]):
            with pytest.raises(anthropic.BadRequestError, match="custom_id"):
                other.batches.create(requests=bad)
    assert server.ledger() == []


@pytest.mark.parametrize("fault", [Fault(cut="before"), Fault(cut="body"), Fault(hang=5.0), Fault(500)])
def test_a_batch_may_be_made_without_the_clients_knowing(fault: Fault) -> None:
    def spoil(number: int, call: dict[str, Any]) -> Fault | None:
        return fault if number == 1 and call == {"method": "POST", "path": "/v1/batches"} else None

    with fault_server(batch_faults=spoil, batch_seconds=0.01) as server:
        client = openai_of(server, timeout=0.3)
        with pytest.raises(openai.APIError):
            submit(client, chats(3))
        made = client.batches.list().data
        if fault.status == 500:  # then it was not made
            assert made == []
            return
        assert [batch.metadata for batch in made] == [{"morlaif": "one"}]
        wait(client.batches.retrieve, made[0])
        assert len(server.paid()) == 3


def test_a_large_batch_leaves_room_for_others() -> None:
    with fault_server(batch_seconds=0) as server:
        client = openai_of(server)
        batch = submit(client, {f"key-{n}": chat_body(turns(f"answer {n}")) for n in range(1000)})
        while client.batches.retrieve(batch.id).status == "in_progress":
            client.chat.completions.create(**chat_body(turns()))
        order = [line.batch for line in server.paid()]
    assert order.count(batch.id) == 1000
    assert None in order[order.index(batch.id) : 1000]  # answered while the batch was at work
