"""Batches, whichever API takes them: handed in, ready after a while, results in shuffled order."""

from __future__ import annotations

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from morlaif_core.testing.faultserver.http import Call, Reply
from morlaif_core.testing.faultserver.service import Outcome, Service
from morlaif_core.testing.faultserver.simulated.asking import Dialect

_AT_ONCE = 50  # entries between two looks at other clients


class Entry(NamedTuple):
    """A request of a batch."""

    custom_id: str
    body: dict[str, Any]


class Result(NamedTuple):
    """What became of it."""

    custom_id: str
    outcome: Outcome


@dataclass
class Batch:
    """A batch. results: empty until it is done. about: what its API keeps with it (file, metadata).

    problem: code and message where it is refused as a whole, after it was taken in.
    """

    id: str
    entries: Sequence[Entry]
    about: Mapping[str, Any]
    problem: tuple[str, str] | None = None
    created: float = field(default_factory=time.time)
    ended: float | None = None
    results: list[Result] = field(default_factory=list)

    def count(self, *states: str) -> int:
        """Return how many entries ended in one of these states."""
        return sum(result.outcome.state in states for result in self.results)


class Desk:
    """All batches of an API, the newest last."""

    def __init__(self, service: Service, dialect: Dialect, prefix: str, seconds: float) -> None:
        self._service, self._dialect, self._prefix, self._seconds = service, dialect, prefix, seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self.batches: dict[str, Batch] = {}

    def submit(
        self, entries: Sequence[Entry], about: Mapping[str, Any], problem: tuple[str, str] | None = None
    ) -> Batch:
        """Take a batch in; with a problem none of it is worked on."""
        batch = Batch(f"{self._prefix}{len(self.batches):08d}", entries, about, problem)
        self.batches[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    def page(self, query: Mapping[str, str], after: str) -> tuple[list[Batch], bool]:
        """Return a page of batches, the newest first, and whether there are more. after: the cursor's name."""
        newest = list(self.batches.values())[::-1]
        cursor = query.get(after)
        if cursor in self.batches:
            newest = newest[[batch.id for batch in newest].index(cursor) + 1 :]
        limit = int(query.get("limit", 20))
        return newest[:limit], len(newest) > limit

    async def _work(self, batch: Batch) -> None:
        await asyncio.sleep(self._seconds)
        try:
            batch.results = await self._results(batch)
        except Exception as error:
            self._service.errors.append(error)
            batch.problem = ("server_error", f"{type(error).__name__} in the fault server: {error}")
        batch.ended = time.time()

    async def _results(self, batch: Batch) -> list[Result]:
        results = []
        for number, entry in enumerate(batch.entries if batch.problem is None else ()):
            results.append(Result(entry.custom_id, self._service.serve_entry(self._dialect, entry.body, batch.id)))
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        random.Random(batch.id).shuffle(results)
        return results


class BatchRoutes(ABC):
    """What both APIs' routes have in common. root: what their paths start with; after: the name of a page's cursor."""

    root: str
    after: str

    def __init__(self, dialect: Dialect, desk: Desk) -> None:
        self._dialect, self._desk = dialect, desk

    def route(self, call: Call, path: str, query: Mapping[str, str]) -> Reply | None:
        """Answer a call; None: no such path."""
        try:
            return self._routed(call, path.removeprefix(self.root).split("/"), query)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"invalid request: {type(error).__name__} {error}"
            return as_json(self._dialect.error(400, "invalid_request", message), 400)

    @abstractmethod
    def create(self, body: dict[str, Any]) -> Batch:
        """Take a batch in. Raises ValueError, KeyError or TypeError for one that the API refuses."""

    @abstractmethod
    def described(self, batch: Batch) -> dict[str, Any]:
        """Return a batch as the API describes it."""

    @abstractmethod
    def other(self, call: Call, parts: list[str]) -> Reply | None:
        """Answer a call that the other API does not have."""

    def _routed(self, call: Call, parts: list[str], query: Mapping[str, str]) -> Reply | None:
        match call.method, parts:
            case "POST", ["batches"]:
                return as_json(self.described(self.create(json.loads(call.body))))
            case "GET", ["batches"]:
                return as_json(self._page(query))
            case "GET", ["batches", name] if name in self._desk.batches:
                return as_json(self.described(self._desk.batches[name]))
        return self.other(call, parts)

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        batches, more = self._desk.page(query, self.after)
        data = [self.described(batch) for batch in batches]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def as_json(value: object, status: int = 200) -> Reply:
    """Return a reply."""
    return Reply(status, json.dumps(value).encode())
