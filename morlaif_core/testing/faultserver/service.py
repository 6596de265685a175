"""A request to the model, from arrival to reply: limits, faults, answer, and the ledger's line before anything is sent."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from morlaif_core.testing.faultserver.simulated.asking import Ask, Asked, Dialect, Tokens, rendered
from morlaif_core.testing.faultserver.simulated.cache import Counted, PrefixCache
from morlaif_core.testing.faultserver.simulated.faults import ANSWERS, Fault, FaultMix, Faults, scripted
from morlaif_core.testing.faultserver.simulated.judge import Judge
from morlaif_core.testing.faultserver.simulated.limits import Limits
from morlaif_core.testing.faultserver.simulated.odd import change_body, change_said

from .http import Reply
from .paid import Ledger, Line

_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_NONE = Fault(kind="ok")


class Outcome(NamedTuple):
    """What became of a batch's entry; body: an answer's or an error's."""

    state: Literal["answered", "errored", "expired", "absent"]
    status: int = 200
    body: dict[str, Any] | None = None


class _Arrived(NamedTuple):
    number: int
    key: str
    attempt: int
    batch: str | None


class _Read(NamedTuple):
    ask: Ask
    asked: Asked
    counted: Counted


@dataclass
class Service:
    """See `FaultServer` for the fields."""

    judge: Judge
    faults: FaultMix | Faults | None
    limits: Limits
    cache: PrefixCache
    ledger: Ledger
    latency: float = 0.0
    redraws: bool = True
    keep_bodies: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    """exceptions of oracles and fault functions, which are a test's own bugs"""
    arrived: int = 0
    _attempts: Counter[str] = field(default_factory=Counter)
    _draws: Counter[str] = field(default_factory=Counter)

    def serve(self, dialect: Dialect, body: dict[str, Any]) -> Reply:
        """Answer a request."""
        arrived = self._arrive(body, None)
        read = self._read(dialect, body)
        if isinstance(read, str):
            return self._refuse(dialect, arrived, Fault(400, code="invalid_request", message=read, kind="invalid"))
        wait = self.limits.ask(read.counted.prompt + (read.ask.max_tokens or 0))
        if wait > 0:
            after = {"retry-after": f"{math.ceil(wait * 1000) / 1000:.3f}"}
            limited = Fault(429, headers=after, code="rate_limit_exceeded", message="rate limit", kind="limited")
            return self._refuse(dialect, arrived, limited)
        fault = dialect.adapt(self._fault(arrived, body) or _NONE)
        if fault.status != 200 or fault.body is not None:
            return self._refuse(dialect, arrived, fault, self.latency + fault.hang)
        data, tokens = self._answer(dialect, read, arrived, fault)
        self._note(arrived, fault, tokens)
        return Reply(
            200,
            change_body(data, fault, dialect),
            fault.headers,
            self.latency + fault.hang,
            fault.cut,
            fault.drip,
            lambda: self.cache.learn(read.counted),
        )

    def serve_entry(self, dialect: Dialect, body: dict[str, Any], batch: str) -> Outcome:
        """Answer an entry of a batch: no limits, no latency; what would break a connection loses the entry."""
        arrived = self._arrive(body, batch)
        read = self._read(dialect, body)
        if isinstance(read, str):
            fault = Fault(400, code="invalid_request", message=read, kind="invalid")
        else:
            fault = dialect.adapt(self._fault(arrived, body) or _NONE)
        lost = _lost(fault)
        if lost is not None or fault.status != 200 or isinstance(read, str):
            self._note(arrived, fault, Tokens(), billed=False)
            error = dialect.error(fault.status, fault.code, fault.message)
            return Outcome(lost) if lost else Outcome("errored", fault.status, error)
        data, tokens = self._answer(dialect, read, arrived, fault)
        self._note(arrived, fault, tokens)
        self.cache.learn(read.counted)
        return Outcome("answered", 200, json.loads(change_body(data, fault, dialect)))

    def _arrive(self, body: dict[str, Any], batch: str | None) -> _Arrived:
        key = hashlib.sha256(_ENCODE(body).encode()).hexdigest()
        arrived = _Arrived(self.arrived, key, self._attempts[key], batch)
        self.arrived += 1
        self._attempts[key] += 1
        if self.keep_bodies:
            self.requests.append(body)
        return arrived

    def _read(self, dialect: Dialect, body: dict[str, Any]) -> _Read | str:
        """Read a request; a text says why the API refuses it."""
        try:
            ask = dialect.read(body)
            asked = self.judge.traits.reader(ask.turns)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
            return f"invalid request: {type(error).__name__} {error}"
        return _Read(ask, asked, self.cache.count(rendered(ask.turns), ask.prefix))

    def _fault(self, arrived: _Arrived, body: dict[str, Any]) -> Fault | None:
        if isinstance(self.faults, FaultMix):
            return self.faults.draw(arrived.key, arrived.attempt)
        return scripted(self.faults, arrived.number, body)

    def _answer(self, dialect: Dialect, read: _Read, arrived: _Arrived, fault: Fault) -> tuple[dict[str, Any], Tokens]:
        draw = self._draw(arrived.key, read.ask, fault)
        said = [
            self.judge.say(read.ask, read.asked, arrived.key, draw + i, fault.change) for i in range(read.ask.choices)
        ]
        counted = read.counted
        tokens = Tokens(counted.prompt, counted.cached, sum(one.tokens for one in said), counted.written)
        said = [change_said(one, fault.change) for one in said]
        model = "another-model" if fault.change == "other_model" else read.ask.model
        usage = None if fault.change == "usage_null" else tokens
        return dialect.write(read.ask, said, model, usage, arrived.number), tokens

    def _draw(self, key: str, ask: Ask, fault: Fault) -> int:
        """Number the drawn answers to a body; an attempt that brings none leaves the draw to the next one."""
        if ask.seeded or not self.redraws:
            return 0
        draw = self._draws[key]
        if fault is _NONE or fault.change in ANSWERS:
            self._draws[key] += ask.choices
        return draw

    def _refuse(self, dialect: Dialect, arrived: _Arrived, fault: Fault, delay: float = 0.0) -> Reply:
        """Reply with an error, or with the body that a script wants."""
        self._note(arrived, fault, Tokens())
        body = fault.body
        if body is None:
            body = json.dumps(dialect.error(fault.status, fault.code, fault.message))
        return Reply(fault.status, body.encode(), fault.headers, delay, fault.cut, fault.drip)

    def _note(self, arrived: _Arrived, fault: Fault, tokens: Tokens, billed: bool | None = None) -> None:
        billed = fault.pays if billed is None else billed
        spent = tokens if billed else Tokens()
        self.ledger.write(
            Line(
                arrived.key,
                arrived.attempt,
                fault.kind,
                billed,
                fault.status,
                time.time(),
                spent.input,
                spent.cached,
                spent.output,
                arrived.batch,
            )
        )


def _lost(fault: Fault) -> Literal["expired", "absent"] | None:
    """Say what becomes of an entry whose connection would break: it expires, or is not among the results."""
    if fault.cut == "before" or fault.hang or fault.drip:
        return "expired"
    broken = fault.cut == "body" or fault.change in ("broken_json", "empty_body", "error_in_200", "no_choices")
    return "absent" if broken or (fault.body is not None and fault.status == 200) else None
