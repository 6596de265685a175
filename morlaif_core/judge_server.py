"""A judge on 127.0.0.1 that speaks OpenAI chat completions: its verdict is a function of the text. For tests."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from .feedback.prompt import parse_judge_messages
from .feedback.verdict import sigmoid

Oracle = Callable[[str, str, str], float]
"""(first answer, second answer, question) -> P(first is what the question asks for), in (0, 1)."""


@dataclass(frozen=True)
class Fault:
    """What happens instead of a proper answer. body None: the usual one; hang: seconds of silence before it."""

    status: int = 200
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: float = 0.0


Faults = Callable[[int, dict[str, Any]], Fault | None] | Mapping[int, Fault]
"""By number of the request (from 0, in order of arrival), or a function of number and body."""


@dataclass
class JudgeServer:
    """A running server. requests: the bodies received so far, in order of arrival."""

    url: str
    requests: list[dict[str, Any]]


@contextlib.contextmanager
def judge_server(
    oracle: Oracle, *, bias: float = 0.0, mass: float = 0.98, faults: Faults | None = None
) -> Iterator[JudgeServer]:
    """Serve until the block ends.

    bias: added to the log-odds of what stands first. mass: probability of the labels A and B together (spelt ``A``,
    `` A`` and so on), the rest goes to other tokens.

        with judge_server(lambda first, second, question: 0.9 if len(first) > len(second) else 0.1) as server:
            provider = morlaif_core.build("feedback_provider", "openai", model="any", base_url=server.url)
    """
    served = _Served(oracle, bias, mass, faults)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    running = JudgeServer(f"http://127.0.0.1:{server.server_address[1]}/v1", served.requests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        served.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class _Served:
    """What all of a server's connections share."""

    oracle: Oracle
    bias: float
    mass: float
    faults: Faults | None
    requests: list[dict[str, Any]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, body: dict[str, Any]) -> Fault:
        """Number a request, keep it and say what goes wrong with it."""
        with self.lock:
            number = len(self.requests)
            self.requests.append(body)
        fault = self.faults(number, body) if callable(self.faults) else (self.faults or {}).get(number)
        return fault or Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client may keep its connection open
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests; anything else is a fault of the test itself."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[_Served]

    def do_POST(self) -> None:
        """Answer a chat completion, or what the faults say."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fault = self.served.receive(body)
        if fault.hang and self.served.ended.wait(fault.hang):
            return
        text = fault.body if fault.body is not None else self._completion(body)
        self._send(fault.status, text.encode(), fault.headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        # One write: in two, the second waits for the client's delayed acknowledgement (40 ms).
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self._headers_buffer.append(b"\r\n" + data)  # type: ignore[attr-defined]
        self.flush_headers()

    def _completion(self, body: dict[str, Any]) -> str:
        asked = parse_judge_messages(body["messages"][-1]["content"])
        p = self.served.oracle(asked.first, asked.second, asked.question)
        first = sigmoid(math.log(p) - math.log1p(-p) + self.served.bias)
        tokens = label_tokens(first, self.served.mass)[: body.get("top_logprobs", 0) or None]
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in tokens]
        logprobs = {"content": [{**top[0], "top_logprobs": top}]} if body.get("logprobs") else None
        words = sum(len(turn["content"].split()) for turn in body["messages"])
        message = {"role": "assistant", "content": top[0]["token"], "refusal": None}
        return json.dumps(
            {
                "id": "chatcmpl-0",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "length", "logprobs": logprobs}],
                "usage": {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1},
            }
        )


def label_tokens(first: float, mass: float) -> list[tuple[str, float]]:
    """Spread probability over spellings of A (share ``first`` of ``mass``) and B and over other tokens.

    Returns (token, log-probability), likeliest first; the probabilities sum to 1.
    """
    spellings = [("{}", 0.9), (" {}", 0.08), ("**{}", 0.02)]
    tokens = {shape.format("A"): first * mass * share for shape, share in spellings}
    tokens |= {shape.format("B"): (1 - first) * mass * share for shape, share in spellings}
    others = ["The", "I", "Both", "Neither", "Response", "It", "Answer", "As", "\n", "1", "2", "C", "This", "Sure", "-"]
    tokens |= {token: (1 - mass) / len(others) for token in others}
    listed = [(token, math.log(p)) for token, p in tokens.items() if p > 0]
    return sorted(listed, key=lambda item: -item[1])
