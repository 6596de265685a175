"""Odd answers: what a kind of fault makes of a proper one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .asking import Dialect, Finish, Position, Said
from .faults import Fault
from .judge import OUTSIDE

_AROUND = {"fenced": "```json\n{}\n```", "preamble": "Here is my verdict: {}"}
_THOUGHT = "<think>\nBoth answers are about"
_WRAPPING = " \n*(.▁Ġ"


def change_said(said: Said, change: str) -> Said:
    """Return an answer with its oddity; one that does not concern this answer changes nothing."""
    endings: dict[str, tuple[str, Finish]] = {
        "refusal": ("I can't help with comparing these.", "refusal"),
        "content_filter": ("", "content_filter"),
        "length": (said.text[: len(said.text) // 2], "length"),
    }
    if change in endings:
        text, finish = endings[change]
        cut = (said.positions or [])[: said.tokens // 2] if change == "length" else []
        return replace(said, text=text, finish=finish, filled=None, positions=None if said.positions is None else cut)
    if change in _AROUND and said.filled is not None:
        return replace(said, text=_AROUND[change].format(said.text))
    if change == "thinking":
        thought = Position("<think>", -0.01, [("<think>", -0.01), ("A", -5.3), ("B", -5.9)])
        return replace(said, text=_THOUGHT, finish="length", filled=None, positions=said.positions and [thought])
    if change == "logprobs_null":
        return replace(said, positions=None)
    if said.positions and change in ("label_a_missing", "label_b_missing", "outside"):
        *before, verdict = said.positions
        changed = _outside(verdict) if change == "outside" else _without(verdict, change[6].upper())
        return replace(said, text="".join(p.token for p in [*before, changed]), positions=[*before, changed])
    return said


def change_body(body: dict[str, Any], fault: Fault, dialect: Dialect) -> bytes:
    """Return an answer's body as it goes out."""
    if fault.change == "error_in_200":
        body = dialect.error(500, fault.code, fault.message)
    elif fault.change == "no_choices":
        body = dialect.without_choices(body)
    if fault.change == "empty_body":
        return b""
    data = json.dumps(body).encode()
    return data[: len(data) // 2] if fault.change == "broken_json" else data


def _label(token: str) -> str:
    return token.strip(_WRAPPING).upper()


def _outside(position: Position) -> Position:
    drawn = _label(position.token)
    top = [(token, OUTSIDE if _label(token) == drawn else p) for token, p in position.top]
    return Position(position.token, OUTSIDE, sorted(top, key=lambda item: -item[1]))


def _without(position: Position, label: str) -> Position:
    top = [(token, p) for token, p in position.top if _label(token) != label]
    if _label(position.token) != label:
        return position._replace(top=top)
    return Position(*(top[0] if top else ("", OUTSIDE)), top)
