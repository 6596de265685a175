"""Anthropic's message batches: requests in one body, results as JSON lines."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from morlaif_core.testing.faultserver.http import Call, Reply
from morlaif_core.testing.faultserver.service import Service

from .anthropic_api import AnthropicDialect
from .batches import Batch, BatchRoutes, Desk, Entry, Result

MOST = 100_000
"""requests that a batch may hold"""
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class AnthropicBatches(BatchRoutes):
    """Routes below ``/v1/messages/batches``."""

    root, after = "/v1/messages/", "after_id"

    def __init__(self, service: Service, seconds: float, url: str) -> None:
        dialect = AnthropicDialect()
        super().__init__(dialect, Desk(service, dialect, "msgbatch_", seconds))
        self._url = url

    def other(self, call: Call, parts: list[str]) -> Reply | None:
        """Answer with a batch's results."""
        match call.method, parts:
            case "GET", ["batches", name, "results"] if name in self._desk.batches:
                found = filter(None, map(_line, self._desk.batches[name].results))
                lines = "".join(json.dumps(line) + "\n" for line in found)
                return Reply(200, lines.encode(), {"content-type": "application/x-jsonl"})
        return None

    def create(self, body: dict[str, Any]) -> Batch:
        """Take a batch in."""
        entries = [Entry(row["custom_id"], row["params"]) for row in body["requests"]]
        ids = {entry.custom_id for entry in entries}
        if not 0 < len(entries) == len(ids) <= MOST or not all(_ID.fullmatch(each) for each in ids):
            raise ValueError(f"1 to {MOST} requests, each with a custom_id of its own: 1 to 64 letters, digits, -, _")
        return self._desk.submit(entries, {})

    def described(self, batch: Batch) -> dict[str, Any]:
        """Return a batch."""
        done = batch.ended is not None
        created = datetime.fromtimestamp(batch.created, UTC)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if done else "in_progress",
            "request_counts": {
                "processing": 0 if done else len(batch.entries),
                "succeeded": batch.count("answered"),
                "errored": batch.count("errored"),
                "expired": batch.count("expired"),
                "canceled": 0,
            },
            "created_at": created.isoformat(),
            "expires_at": (created + timedelta(days=1)).isoformat(),
            "ended_at": datetime.fromtimestamp(batch.ended, UTC).isoformat() if batch.ended is not None else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self._url}/v1/messages/batches/{batch.id}/results" if done else None,
        }


def _line(result: Result) -> dict[str, Any] | None:
    outcome = result.outcome
    results: dict[str, dict[str, Any]] = {
        "answered": {"type": "succeeded", "message": outcome.body},
        "errored": {"type": "errored", "error": outcome.body},
        "expired": {"type": "expired"},
    }
    found = results.get(outcome.state)
    return {"custom_id": result.custom_id, "result": found} if found else None
