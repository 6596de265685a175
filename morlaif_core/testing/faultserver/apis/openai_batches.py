"""OpenAI's files and batches: a JSONL file is uploaded, a batch made of it, its outputs and errors are files again."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from morlaif_core.testing.faultserver.http import Call, Reply
from morlaif_core.testing.faultserver.service import Service

from .batches import Batch, BatchRoutes, Desk, Entry, Result, as_json
from .openai_api import OpenAIDialect

ENDPOINT = "/v1/chat/completions"
MOST = 50_000
"""requests that a batch may hold"""


class OpenAIBatches(BatchRoutes):
    """Routes below ``/v1/files`` and ``/v1/batches``."""

    root, after = "/v1/", "after"

    def __init__(self, service: Service, seconds: float) -> None:
        dialect = OpenAIDialect()
        super().__init__(dialect, Desk(service, dialect, "batch_", seconds))
        self._files: dict[str, bytes] = {}

    def other(self, call: Call, parts: list[str]) -> Reply | None:
        """Take a file, or answer with one."""
        match call.method, parts:
            case "POST", ["files"]:
                return as_json(self._upload(call))
            case "GET", ["files", name, "content"] if (file := self._file(name)) is not None:
                return Reply(200, file, {"content-type": "application/octet-stream"})
        return None

    def create(self, body: dict[str, Any]) -> Batch:
        """Make a batch of a file."""
        if body["endpoint"] != ENDPOINT or body["completion_window"] != "24h":
            raise ValueError(f"endpoint {ENDPOINT} and completion_window 24h")
        file = self._files[body["input_file_id"]]
        try:
            return self._desk.submit(_entries(file), body)
        except (ValueError, KeyError, TypeError) as error:  # found out when the file is looked at, after the call
            return self._desk.submit((), body, ("invalid_file", f"{type(error).__name__} {error}"))

    def _upload(self, call: Call) -> dict[str, Any]:
        parts = multipart(call)
        name = f"file-{len(self._files):08d}"
        self._files[name] = parts["file"]
        purpose = parts["purpose"].decode()
        return {
            "id": name,
            "object": "file",
            "bytes": len(parts["file"]),
            "created_at": int(time.time()),
            "filename": "batch.jsonl",
            "purpose": purpose,
            "status": "processed",
        }

    def described(self, batch: Batch) -> dict[str, Any]:
        """Return a batch."""
        answered, failed = batch.count("answered"), batch.count("errored", "expired")
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "input_file_id": batch.about["input_file_id"],
            "metadata": batch.about.get("metadata"),
            "created_at": int(batch.created),
            "expires_at": int(batch.created) + 86400,
            "completed_at": int(batch.ended) if batch.ended is not None else None,
            "status": _status(batch),
            "errors": _errors(batch),
            "output_file_id": f"output-{batch.id}" if answered else None,
            "error_file_id": f"errors-{batch.id}" if failed else None,
            "request_counts": {"total": len(batch.entries), "completed": answered, "failed": failed},
        }

    def _file(self, name: str) -> bytes | None:
        kind, _, batch = name.partition("-")
        if kind not in ("output", "errors") or batch not in self._desk.batches:
            return self._files.get(name)
        states = ("answered",) if kind == "output" else ("errored", "expired")
        results = [result for result in self._desk.batches[batch].results if result.outcome.state in states]
        return b"".join(
            json.dumps(_line(batch, number, result)).encode() + b"\n" for number, result in enumerate(results)
        )


def _entries(file: bytes) -> list[Entry]:
    rows = [json.loads(line) for line in file.splitlines()]
    if any(row["method"] != "POST" or row["url"] != ENDPOINT for row in rows):
        raise ValueError("every line has the batch's method and url")
    entries = [Entry(row["custom_id"], row["body"]) for row in rows]
    if not 0 < len(entries) == len({entry.custom_id for entry in entries}) <= MOST:
        raise ValueError(f"1 to {MOST} requests, each with a custom_id of its own")
    return entries


def _status(batch: Batch) -> str:
    if batch.ended is None:
        return "in_progress"
    return "failed" if batch.problem else "expired" if batch.count("expired") else "completed"


def _errors(batch: Batch) -> dict[str, Any] | None:
    if batch.ended is None or batch.problem is None:
        return None
    code, message = batch.problem
    return {"object": "list", "data": [{"code": code, "message": message, "line": None, "param": None}]}


def _line(batch: str, number: int, result: Result) -> dict[str, Any]:
    outcome, response, error = result.outcome, None, None
    if outcome.state == "expired":
        error = {"code": "batch_expired", "message": "this request was not executed before the batch expired"}
    else:
        response = {"status_code": outcome.status, "request_id": f"req_{number}", "body": outcome.body}
    return {"id": f"{batch}-{number}", "custom_id": result.custom_id, "response": response, "error": error}


def multipart(call: Call) -> dict[str, bytes]:
    """Return the parts of a form by their names. Raises ValueError for what is no form."""
    boundary = re.search(r"boundary=\"?([^\";]+)", call.content_type)
    if boundary is None:
        raise ValueError("a multipart form is expected")
    parts = {}
    for part in call.body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        if name is not None:
            parts[name[1].decode()] = content.removesuffix(b"\r\n")
    return parts
