"""The fault server as a test uses it: a context manager around a thread, or a process, that serves on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any, NamedTuple, Self

from morlaif_core.testing.faultserver.simulated.cache import PrefixCache
from morlaif_core.testing.faultserver.simulated.judge import Judge
from morlaif_core.testing.faultserver.simulated.limits import Limits

from .http import Connection
from .paid import Ledger, Line, read_lines
from .process import ServerProcess
from .routes import Routes, state_of
from .service import Service
from .settings import ServerSettings


class Statistics(NamedTuple):
    """Counts so far. allowed, refused: by the rate limits; prompt_tokens: of answered requests, of them cached ones."""

    requests: int
    allowed: int
    refused: int
    prompt_tokens: int
    cached_tokens: int


class FaultServer(ServerSettings):
    """A judge on 127.0.0.1 whose verdicts are known, and whose faults are too. Speaks OpenAI's and Anthropic's APIs.

        with fault_server(bias=1.0, faults=FaultMix(rate=0.25, hang=1.0)) as server:
            provider = morlaif_core.build("feedback_provider", "openai", model="any", base_url=server.url)
            ...
            assert len(server.paid()) == 100

    An exception in an oracle or a fault function is a 500 to the client and is raised again when the block ends.
    """

    def __enter__(self) -> Self:
        """Start to serve."""
        self._process = ServerProcess(self) if self.process else None
        if self._process is not None:
            self._address = self._process.address
            return self
        # Bound here, so that a port that is taken is this thread's error, and clients may connect from now on.
        listening = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._lines = Ledger(self.ledger_file)
        self._service = self._make_service(self._lines)
        self._routes = Routes(self._service, self._address, self.batch_seconds, self.batch_faults)
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening, ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; open connections are reset."""
        if self._process is not None:
            self._process.stop()
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._lines.close()
        if kind is None and self._service.errors:
            raise self._service.errors[0]

    @property
    def url(self) -> str:
        """The base URL for the OpenAI SDK."""
        return self._address + "/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for the Anthropic SDK."""
        return self._address

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all requests to the model, in order of arrival; those of batches when they are worked on."""
        if self._process is not None:
            raise RuntimeError("a server in a process of its own keeps no bodies")
        return self._service.requests

    def ledger(self) -> list[Line]:
        """Return a line for each attempt so far."""
        if self._process is None:
            return list(self._lines.lines)
        if self.ledger_file is None:
            raise RuntimeError("a server in a process of its own needs ledger_file")
        return read_lines(self.ledger_file)

    def paid(self) -> list[Line]:
        """Return the lines of what was billed."""
        return [line for line in self.ledger() if line.billed]

    def statistics(self) -> Statistics:
        """Return counts."""
        return Statistics(**(self._process.state() if self._process is not None else state_of(self._service)))

    async def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        """Serve until the end is called for."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        connections: set[Connection] = set()
        server = await self._loop.create_server(lambda: Connection(self._routes.handle, connections), sock=listening)
        await self._ended.wait()
        server.close()
        for connection in list(connections):
            connection.abort()

    def _make_service(self, ledger: Ledger) -> Service:
        return Service(
            Judge(self),
            self.faults,
            Limits(self.requests_per_minute, self.tokens_per_minute, self.time_scale, self.burst),
            PrefixCache(self.tokenizer, self.cache_block),
            ledger,
            self.latency,
            self.redraws,
            self.keep_bodies,
        )
