"""The JSON schemas that a structured answer must follow, in the form that strict servers take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict_schema(abstain: bool) -> Mapping[str, Any]:
    """Return the schema of an answer about one question. The rationale comes first: what is written later follows it.

    The confidence's bounds (0 to 1) stand in the prompt alone: strict servers refuse ``minimum`` and ``maximum``.
    """
    return _object({"rationale": {"type": "string"}, "verdict": _choice(abstain), "confidence": {"type": "number"}})


def joint_schema(n: int, abstain: bool) -> Mapping[str, Any]:
    """Return the schema of an answer about n questions: a verdict under the number of each, "1" to "n"."""
    return _object({str(place): _choice(abstain) for place in range(1, n + 1)})


def _choice(abstain: bool) -> Mapping[str, Any]:
    return {"type": "string", "enum": ["A", "B", "tie", *(["not_applicable"] if abstain else [])]}


def _object(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
