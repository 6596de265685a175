"""The JSON object that a judge answers by, also in a code fence or after a sentence; never a quoted or a doubtful one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from morlaif_core.models.rendering import THINK, THOUGHT

_CLOSING = " \t\r\n`"
"""What may stand behind an object that ends an answer: the end of a code fence."""


def thinks(text: str) -> bool:
    """Say whether an answer begins with the model's thoughts."""
    return text.lstrip().startswith(THINK)


def split_thoughts(text: str) -> tuple[str, str]:
    """Return the model's thoughts and what follows them: nothing where they do not end. Templates may open them unseen,
    so that only their end is there; or what looks like it is quoted from a judged response."""
    thoughts, end, answer = text.rpartition(THOUGHT)
    return (thoughts, answer) if end or not thinks(text) else (text, "")


def answered_object(text: str, keys: Sequence[str]) -> Mapping[str, Any]:
    """Return the answer's JSON object; empty where there is none, or doubt which one it is.

    keys: of the schema; the first names the verdict, or each does where they are numbers (a joint answer). An object
    that is the whole text may lack some. One that stands behind other text must have them all, end the answer, and be the
    only one to say anything of a verdict: an answer that quotes another object, before or after its own, has none.
    """
    whole = _parsed(text)
    if whole is not None:
        return whole
    verdicts = keys if keys[0].isdecimal() else keys[:1]
    thoughts, answer = split_thoughts(text)
    # What goes on behind its object may take it back: "… but that is what response A says".
    if answer.rstrip(_CLOSING)[-1:] != "}" or ("{" in thoughts and not thinks(text)):
        return {}
    saying = [said for said in _objects(answer) if not said.keys().isdisjoint(verdicts)]
    fitting = [said for said in saying if said.keys() == set(keys)]
    if not fitting or any(said.get(key) != fitting[0][key] for said in saying for key in verdicts):
        return {}
    return fitting[0]


def _parsed(text: str) -> dict[str, Any] | None:
    """Read a text that is a JSON object as a whole."""
    try:
        said = _DECODER.decode(text)
    # Thousands of brackets in an answer make json give up with a RecursionError.
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the objects that stand in a text, one after the other; none where a brace opens no whole object."""
    found, at = [], text.find("{")
    while at >= 0:
        try:
            said, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            # What is inside a broken object is a part of it, and no verdict of its own.
            return []
        found.append(said)
        at = text.find("{", end)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("a key is given twice")
    return said


# By default the last of two equal keys would win, and a judge that contradicts itself would have a verdict.
_DECODER = json.JSONDecoder(object_pairs_hook=_once)
