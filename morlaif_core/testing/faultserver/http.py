"""A minimal HTTP/1.1 server on asyncio: keep-alive, a reply in one write, and replies that come late, cut or in drips."""

from __future__ import annotations

import asyncio
import http
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Cut = Literal["before", "body"]
"""Where a connection is reset: before the reply, or in the middle of its body."""
MAX_HEAD, MAX_BODY = 64 * 1024, 300 * 1024 * 1024
_DRIPS = 20
_SETTLE = 0.02  # seconds between half a body and the reset: a reset at once would overtake the body
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


class Call(NamedTuple):
    """A request as it came in. Of its headers only the content's type is kept: the others may hold a key."""

    method: str
    target: str
    content_type: str
    body: bytes


@dataclass(slots=True)
class Reply:
    """What is sent back. delay: seconds until then; drip: seconds over which the body trickles.

    sent: called when the reply goes out whole, never where the client went away before.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: Cut | None = None
    drip: float = 0.0
    sent: Callable[[], None] | None = None

    def encode(self) -> tuple[bytes, bytes]:
        """Return head and body."""
        headers = {"content-type": "application/json", "content-length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}\r\n{lines}\r\n".encode(), self.body


Handle = Callable[[Call], Reply]


class _Head(NamedTuple):
    method: str
    target: str
    content_type: str
    length: int
    start: int
    close: bool


class BadRequest(ValueError):
    """Not HTTP as this server understands it."""


class Connection(asyncio.Protocol):
    """One client. Requests on a connection are answered one after the other, those of others meanwhile."""

    def __init__(self, handle: Handle, connections: set[Connection]) -> None:
        self._handle, self._connections = handle, connections
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection, so that the server's end can end it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and what was still to be sent on it."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is complete."""
        self._buffer += data
        self._next()

    def abort(self) -> None:
        """Reset the connection: the client sees no orderly end."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _next(self) -> None:
        if self._busy:
            return
        try:
            call = self._take()
        except BadRequest as error:
            self._transport.write(
                b"".join(Reply(400, json.dumps({"error": {"message": str(error)}}).encode()).encode())
            )
            self._transport.close()
            return
        if call is not None:
            self._busy = True
            reply = self._handle(call)
            if reply.delay > 0:
                self._later(reply.delay, lambda: self._send(reply))
            else:
                self._send(reply)

    def _take(self) -> Call | None:
        """Return the next request where it is complete."""
        if self._head is None:
            self._head = _read_head(self._buffer)
        head = self._head
        if head is None or len(self._buffer) < head.start + head.length:
            return None
        body = bytes(self._buffer[head.start : head.start + head.length])
        del self._buffer[: head.start + head.length]
        return Call(head.method, head.target, head.content_type, body)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, what)

    def _send(self, reply: Reply) -> None:
        if reply.cut == "before":
            self.abort()
            return
        head, body = reply.encode()
        if reply.cut == "body":
            self._transport.write(head + body[: len(body) // 2])
            self._later(_SETTLE, self.abort)
            return
        if reply.sent is not None:
            reply.sent()
        if reply.drip > 0:
            self._transport.write(head)
            self._drip(body, max(1, -(-len(body) // _DRIPS)), reply.drip / _DRIPS)
            return
        # One write: in two, the second waits for the client's delayed acknowledgement (40 ms).
        self._transport.write(head + body)
        self._done()

    def _drip(self, rest: bytes, size: int, pause: float) -> None:
        self._transport.write(rest[:size])
        if len(rest) > size:
            self._later(pause, lambda: self._drip(rest[size:], size, pause))
        else:
            self._done()

    def _done(self) -> None:
        assert self._head is not None
        close, self._head, self._busy = self._head.close, None, False
        if close:
            self._transport.close()
        elif self._buffer:
            self._next()


def _read_head(buffer: bytearray) -> _Head | None:
    """Return the head of the request that a buffer starts with; None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise BadRequest("head too long")
        return None
    first, *lines = bytes(buffer[:end]).split(b"\r\n")
    method, _, rest = first.decode("latin-1").partition(" ")
    kept = {b"content-length": "0", b"content-type": "", b"connection": "", b"transfer-encoding": ""}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in kept:
            kept[name] = value.strip().decode("latin-1")
    length = kept[b"content-length"]
    if kept[b"transfer-encoding"] or not length.isdecimal() or int(length) > MAX_BODY:
        raise BadRequest("a body needs a content-length that fits")
    close = kept[b"connection"].lower() == "close"
    return _Head(method, rest.partition(" ")[0], kept[b"content-type"], int(length), end + 4, close)
