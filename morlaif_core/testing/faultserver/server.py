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

    An exception in an oracle or a fault function is a 500 to the client and is raised again when the block ends.

    Args:
        oracle: P(first is what the question asks for), a function of the two answers and the question.
        bias: position bias, added to the log-odds of what stands first.
        mass: probability of all labels together where log-probabilities are asked for; other tokens get the rest.
        spellings: how labels are spelt, and what share of a label's probability each spelling has; the first is what is
            written.
        abstains: where the prompt offers it: whether the question does not apply.
        ties: answers by a schema that offers a tie: below this |log-odds|, bias included, it is one.
        seed: of the verdicts that are drawn: at temperature 0 the likelier letter is written, else P(first) decides by
            chance, as a function of seed, body and how many answers that body has had.
        reader: finds what is asked in a request's turns.
        redraws: whether the same body, asked again after it was answered, may get another letter, as from a model;
            False, or a `seed` in the body: it gets the same one.
        faults: what goes wrong with requests to the model, one by one or in batches: drawn, or scripted by request.
        batch_faults: what goes wrong with calls to files and batches, by number of such a call, or a function of number and
            ``{"method", "path"}``. With a status of 200 the call has its effect and its reply is spoilt (hang, cut, drip,
            body): a batch may have been made without the client's knowing.
        latency: seconds until a reply; other requests go on meanwhile.
        requests_per_minute: a rate limit; None: none.
        tokens_per_minute: the same of prompts and of the most that is asked for.
        time_scale: how much faster than the wall's the limits' clock goes: at 10, a minute lasts 6 s. retry-after is in real
            seconds.
        burst: minutes' worth of the limits that may come at once.
        batch_seconds: until a batch is done.
        tokenizer: text -> ids: counts tokens and turns the prefix cache on; None: four characters are a token.
        cache_block: tokens of a block of the prefix cache.
        ledger_file: where ledger lines are appended, as JSON, each before its request is answered.
        keep_bodies: whether `requests` holds the bodies; no header is ever kept.
        port: 0: any free one.
        process: serve from a process of its own, so that the server's work is not the client's: for benchmarks. The
            oracle is a `KnownPreference` then, faults a `FaultMix`; no other functions or spellings, no `requests`;
            `ledger` needs ledger_file.

    >>> from morlaif_core import build
    >>> from morlaif_core.testing import FaultMix, fault_server
    >>> with fault_server(bias=1.0, faults=FaultMix(rate=0.25, hang=1.0)) as server:
    ...     judge = build("feedback_provider", "openai", model="any", base_url=server.url, api_key=None)
    ...     len(server.paid())  # nothing was asked yet
    0
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
