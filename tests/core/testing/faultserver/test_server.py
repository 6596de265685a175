"""The fault server as a server: connections, latency, limits, prefix cache, and life in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from morlaif_core.testing.faultserver import FaultMix, FaultServer, KnownPreference, fault_server, judge_server
from morlaif_core.testing.faultserver.simulated.asking import rendered
from morlaif_core.testing.faultserver.simulated.limits import Limits
from tests.helpers.sdk_requests import KEY, anthropic_of, ask, chat_body, message_body, openai_of, turns

BLOCK = 16


def connect(server: FaultServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.anthropic_url.rpartition(":")[2])), timeout=5)


def raw(path: str, body: bytes, method: str = "POST", *headers: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answers(connection: socket.socket, n: int) -> list[tuple[int, Any]]:
    """Read n replies from a connection, in the order in which they come."""
    file, read = connection.makefile("rb"), []
    for _ in range(n):
        status = int(file.readline().split()[1])
        length = 0
        while (line := file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        read.append((status, json.loads(file.read(length))))
    return read


def test_requests_in_pieces_and_in_one_go() -> None:
    one = raw("/v1/chat/completions", json.dumps(chat_body(turns("first"))).encode())
    two = raw("/v1/chat/completions", json.dumps(chat_body(turns("second"), model="n")).encode())
    with judge_server(lambda first, second, question: 0.5) as server, connect(server) as connection:
        for start in range(0, len(one), 100):
            connection.sendall(one[start : start + 100])
            time.sleep(0.001)
        connection.sendall(one + two)
        said = answers(connection, 3)
        assert [(status, body["model"]) for status, body in said] == [(200, "m"), (200, "m"), (200, "n")]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        (raw("/v2/nothing", b""), 404, "/v2/nothing is unknown"),
        (raw("/v1/chat/completions", b"", "GET"), 404, "GET /v1/chat/completions"),
        (raw("/v1/batches/batch_7", b"", "GET"), 404, "no such"),
        (raw("/v1/chat/completions", b"{"), 400, "no JSON object"),
        (raw("/v1/chat/completions", b"[]"), 400, "no JSON object"),
        (raw("/v1/chat/completions", b"{}"), 400, "KeyError 'messages'"),
        (raw("/v1/messages", json.dumps({"model": "m", "messages": turns()[1:]}).encode()), 400, "max_tokens"),
        (raw("/v1/messages", b"", "POST", "Transfer-Encoding: chunked"), 400, "content-length"),
        (b"x" * 70_000, 400, "head too long"),
    ],
)
def test_what_the_server_does_not_take(sent: bytes, status: int, word: str) -> None:
    with fault_server() as server, connect(server) as connection:
        connection.sendall(sent)
        ((seen, body),) = answers(connection, 1)
        assert (seen, server.paid()) == (status, [])
    assert word in body["error"]["message"]


def test_only_this_machine_is_served_and_a_port_is_taken_once() -> None:
    with fault_server() as server:
        port = int(server.anthropic_url.rpartition(":")[2])
        assert server.url == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(OSError, match="in use"), fault_server(port=port):
            pass
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_latency_blocks_nobody_else() -> None:
    async def together(server: FaultServer) -> float:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=server.url, max_retries=0) as client:
            started = time.monotonic()
            await asyncio.gather(
                *(client.chat.completions.create(**chat_body(turns(f"answer {n}"))) for n in range(20))
            )
            return time.monotonic() - started

    with fault_server(latency=0.4) as server:
        took = asyncio.run(together(server))
    assert 0.4 <= took < 7  # one after the other: 8 s


def test_a_bucket_allows_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    limits = Limits(600, None, time_scale=10, burst=0.1, clock=lambda: now[0])
    assert [limits.ask(1) for _ in range(60)] == [0.0] * 60
    assert limits.ask(1) == pytest.approx(0.01)  # 600 per 6 s
    allowed = 0
    for _ in range(6000):
        now[0] += 0.001
        allowed += limits.ask(1) == 0
    assert allowed == pytest.approx(600, abs=1)
    tokens = Limits(None, 1000, burst=1, clock=lambda: now[0])
    assert (tokens.ask(900), tokens.ask(100), tokens.ask(50)) == (0, 0, pytest.approx(3))
    with pytest.raises(ValueError, match="above 0"):
        Limits(0)


def test_limits_answer_429_with_the_seconds_to_wait() -> None:
    with fault_server(requests_per_minute=60, time_scale=4, burst=0.1) as server:
        create = openai_of(server).chat.completions.create

        def greedy() -> None:
            for _ in range(200):
                create(**chat_body(turns()))

        with pytest.raises(openai.RateLimitError) as refused:
            greedy()
        wait = float(refused.value.response.headers["retry-after"])
        assert 0 < wait <= 60 / 60 / 4 + 0.001
        time.sleep(wait)
        create(**chat_body(turns()))
    counts = server.statistics()
    assert (counts.refused, counts.allowed) == (1, len(server.paid()))
    assert counts.allowed >= 7
    assert [line.kind for line in server.ledger()].count("limited") == 1


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


def expected_cached(ids: list[int], answered: list[list[int]]) -> int:
    """The slow reference: whole blocks of the longest start that any answered prompt shares, one token left over."""
    longest = 0
    for other in answered:
        shared = 0
        while shared < min(len(ids), len(other)) and ids[shared] == other[shared]:
            shared += 1
        longest = max(longest, shared)
    return min(longest, len(ids) - 1) // BLOCK * BLOCK


def test_the_prefix_cache_counts_as_a_slow_reference_does() -> None:
    rng = random.Random(3)
    answered: list[list[int]] = []
    with fault_server(tokenizer=characters, cache_block=BLOCK, faults={5: "error_500"}) as server:
        client = openai_of(server)
        for number in range(60):
            texts = [rng.choice(["abc " * 20, "abd " * 20]) * rng.randint(1, 3) for _ in range(2)]
            messages = turns(*texts, questions=[rng.choice(["Which is kinder?", "Which is longer?"])])
            ids = characters(rendered(tuple((turn["role"], turn["content"]) for turn in messages)))
            if number == 5:  # refused: computes nothing, teaches nothing
                with pytest.raises(openai.InternalServerError):
                    client.chat.completions.create(**chat_body(messages))
                continue
            usage = client.chat.completions.create(**chat_body(messages)).usage
            assert usage is not None
            assert usage.prompt_tokens_details is not None
            seen = (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens)
            assert seen == (len(ids), expected_cached(ids, answered))
            answered.append(ids)
        counts = server.statistics()
    assert counts.prompt_tokens == sum(map(len, answered))
    assert counts.cached_tokens == sum(line.cached for line in server.paid()) > counts.prompt_tokens / 2


def test_a_prefix_is_cached_when_its_request_has_been_answered() -> None:
    async def together(server: FaultServer) -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=server.url, max_retries=0) as client:
            await asyncio.gather(*(client.chat.completions.create(**chat_body(turns())) for _ in range(2)))

    with fault_server(tokenizer=characters, latency=0.1) as server:
        asyncio.run(together(server))
        ask(server, "openai")
        cached = [line.cached for line in server.paid()]
    assert cached[:2] == [0, 0]
    assert cached[2] > 100


def test_anthropic_caches_what_is_marked() -> None:
    messages = turns("yes " * 40, "no " * 40)
    text = messages[1]["content"]
    blocks = [
        {"type": "text", "text": text[:400], "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": text[400:]},
    ]
    marked = message_body([messages[0], {"role": "user", "content": blocks}])
    with fault_server(tokenizer=characters) as server:
        create = anthropic_of(server).messages.create
        plain = [create(**message_body(messages)).usage for _ in range(2)]
        wrote, read = (create(**marked).usage for _ in range(2))
        whole = create(**message_body(messages), cache_control={"type": "ephemeral"}).usage
    prompt = plain[0].input_tokens
    assert [(usage.cache_read_input_tokens, usage.cache_creation_input_tokens) for usage in plain] == [(0, 0)] * 2
    start = len(characters(rendered((("system", messages[0]["content"]),)))) + len("user\n") + 400
    assert wrote.cache_creation_input_tokens == read.cache_read_input_tokens == start // BLOCK * BLOCK
    for usage in (wrote, read, whole):
        parts = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
        assert sum(parts) == prompt  # type: ignore[arg-type]
    assert whole.cache_read_input_tokens == read.cache_read_input_tokens


def test_a_process_of_its_own_serves_the_same(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "oracle": KnownPreference(3, 2.0),
        "bias": 1.0,
        "redraws": False,
        "faults": FaultMix(0.5, 2, ("error_500", "refusal"), most=1),
    }

    def said(server: FaultServer) -> list[Any]:
        create, seen = openai_of(server).chat.completions.create, []
        for n in range(12):
            try:
                seen.append(create(**chat_body(turns(f"answer {n}"), temperature=1)).choices[0].to_dict())
            except openai.InternalServerError:
                seen.append("error")
        return seen

    file = tmp_path / "paid.jsonl"
    with fault_server(**fields) as near, fault_server(**fields, process=True, ledger_file=file) as far:
        assert said(near) == said(far)
        assert [line[:5] for line in near.ledger()] == [line[:5] for line in far.ledger()]
        assert near.statistics() == far.statistics()
        with pytest.raises(RuntimeError, match="keeps no bodies"):
            _ = far.requests
    with pytest.raises(openai.APIConnectionError):
        ask(far, "openai")
    for own in ({"oracle": lambda a, b, q: 0.5}, {"tokenizer": characters}, {"faults": {0: "hang"}}):
        with pytest.raises(TypeError, match="KnownPreference"), fault_server(**own, process=True):  # type: ignore[arg-type]
            pass


def test_a_server_process_ends_with_its_parent_however_that_dies() -> None:
    code = (
        "import os, signal; from morlaif_core.testing import fault_server\n"
        "with fault_server(process=True) as server:\n"
        "    print(server.anthropic_url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    port = int(died.stdout.strip().rpartition(":")[2])
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    pytest.fail("the server outlived its parent")


def test_the_command_prints_its_address_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "morlaif_core.testing.faultserver", "--fault-rate=1", "--kinds=answers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        assert client.chat.completions.create(**chat_body(turns())).choices
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(timeout=5) == 0
