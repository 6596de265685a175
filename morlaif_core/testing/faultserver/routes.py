"""Which path leads where."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from morlaif_core.testing.faultserver.apis.anthropic_api import AnthropicDialect
from morlaif_core.testing.faultserver.apis.anthropic_batches import AnthropicBatches
from morlaif_core.testing.faultserver.apis.batches import BatchRoutes
from morlaif_core.testing.faultserver.apis.openai_api import OpenAIDialect
from morlaif_core.testing.faultserver.apis.openai_batches import OpenAIBatches
from morlaif_core.testing.faultserver.simulated.asking import Dialect
from morlaif_core.testing.faultserver.simulated.faults import Fault, Faults, scripted

from .http import Call, Reply
from .service import Service

STATE = "/fault-server/state"
"""Counts, as JSON, for a server in a process of its own."""


class Routes:
    """All that the server answers."""

    def __init__(self, service: Service, url: str, batch_seconds: float, batch_faults: Faults | None) -> None:
        self._service, self._batch_faults = service, batch_faults
        openai: tuple[Dialect, BatchRoutes] = OpenAIDialect(), OpenAIBatches(service, batch_seconds)
        anthropic: tuple[Dialect, BatchRoutes] = AnthropicDialect(), AnthropicBatches(service, batch_seconds, url)
        self._models = {"/v1/chat/completions": openai[0], "/v1/messages": anthropic[0]}
        self._batches = {"/v1/files": openai, "/v1/batches": openai, "/v1/messages/batches": anthropic}
        self._calls = 0

    def handle(self, call: Call) -> Reply:
        """Answer a call. Whatever fails in here is a 500 to the client and kept in the service's `errors`."""
        try:
            return self._handle(call)
        except Exception as error:
            self._service.errors.append(error)
            return _error(500, f"{type(error).__name__} in the fault server: {error}")

    def _handle(self, call: Call) -> Reply:
        parts = urlsplit(call.target)
        if parts.path in self._models and call.method == "POST":
            return self._ask(self._models[parts.path], call)
        for start, (dialect, batches) in self._batches.items():
            if parts.path == start or parts.path.startswith(start + "/"):
                reply = self._faulty(dialect, batches, call, parts.path, dict(parse_qsl(parts.query)))
                return reply or _error(404, "no such file or batch", dialect)
        if parts.path == STATE:
            return Reply(200, json.dumps(state_of(self._service)).encode())
        return _error(404, f"{call.method} {parts.path} is unknown here")

    def _ask(self, dialect: Dialect, call: Call) -> Reply:
        try:
            body = json.loads(call.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return _error(400, "the body is no JSON object", dialect)
        return self._service.serve(dialect, body)

    def _faulty(
        self, dialect: Dialect, batches: BatchRoutes, call: Call, path: str, query: dict[str, str]
    ) -> Reply | None:
        """Do what a call asks and spoil the reply; an error status prevents it instead."""
        number, self._calls = self._calls, self._calls + 1
        fault = scripted(self._batch_faults, number, {"method": call.method, "path": path}) or Fault()
        if fault.status != 200:
            body = fault.body or json.dumps(dialect.error(fault.status, fault.code, fault.message))
            return Reply(fault.status, body.encode(), fault.headers)
        reply = batches.route(call, path, query)
        if reply is not None:
            reply.delay, reply.cut, reply.drip = fault.hang, fault.cut, fault.drip
            reply.body = reply.body if fault.body is None else fault.body.encode()
        return reply


def state_of(service: Service) -> dict[str, int]:
    """Return a service's counts; see `Statistics`."""
    return {
        "requests": service.arrived,
        "allowed": service.limits.allowed,
        "refused": service.limits.refused,
        "prompt_tokens": service.cache.prompt,
        "cached_tokens": service.cache.cached,
    }


def _error(status: int, message: str, dialect: Dialect | None = None) -> Reply:
    body: dict[str, Any] = (dialect or OpenAIDialect()).error(status, "not_found", message)
    return Reply(status, json.dumps(body).encode())
