"""What can go wrong, each kind by its name, and how faults are drawn or scripted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

from morlaif_core.testing.faultserver.http import Cut

from .oracle import uniform


@dataclass(frozen=True)
class Fault:
    """What happens instead of a proper answer, or to it.

    Attributes:
        status: other than 200, an error in the API's own form, made from code and message, is the answer.
        body: sent as it is instead of that, or of the proper answer.
        headers: added.
        hang: seconds of silence before the answer.
        cut: the connection is reset, ``before`` the answer or in its ``body``.
        drip: seconds over which the body trickles.
        change: what is odd about the answer, one of the names in `ANSWERS`, or of the last four in `PASSING`.
        code, message: of the error.
        billed: None: where the status is 200 and the connection is not reset before the answer.
        kind: its name in the server's ledger.

    >>> Fault(503, code="server_error", message="unavailable").pays
    False
    """

    status: int = 200
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: float = 0.0
    cut: Cut | None = None
    drip: float = 0.0
    change: str = ""
    code: str = ""
    message: str = ""
    billed: bool | None = None
    kind: str = "scripted"

    @property
    def pays(self) -> bool:
        """Whether the attempt is charged."""
        return self.status == 200 and self.cut != "before" if self.billed is None else self.billed


def _wait(seconds: str) -> Fault:
    return Fault(429, headers={"retry-after": seconds} if seconds else {}, code="rate_limit", message="slow down")


_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_PASSING: dict[str, Fault] = {
    "retry_after": _wait("0.2"),
    "retry_after_date": _wait("DATE"),
    "retry_after_600": _wait("600"),
    "retry_after_inf": _wait("inf"),
    "retry_after_negative": _wait("-1"),
    "retry_after_junk": _wait("soon"),
    "retry_after_none": _wait(""),
    "timeout_408": Fault(408, code="timeout", message="the request took too long"),
    "conflict_409": Fault(409, code="conflict", message="try again"),
    "error_500": Fault(500, code="server_error", message="the server had an error"),
    "html_502": Fault(502, _HTML, {"content-type": "text/html"}),
    "unavailable_503": Fault(503, code="server_error", message="unavailable"),
    "overloaded_529": Fault(529, code="overloaded", message="overloaded"),
    "reset_before": Fault(cut="before"),
    "reset_body": Fault(cut="body"),
    "hang": Fault(hang=1.0),
    "drip": Fault(drip=1.0),
    "broken_json": Fault(change="broken_json"),
    "empty_body": Fault(change="empty_body"),
    "error_in_200": Fault(change="error_in_200", code="server_error", message="upstream failed"),
    "no_choices": Fault(change="no_choices"),
}
_LASTING: dict[str, Fault] = {
    "bad_request_400": Fault(400, code="invalid_request", message="invalid request"),
    "too_long_400": Fault(400, code="context_length_exceeded", message="prompt is too long: maximum context length"),
    "unauthorized_401": Fault(401, code="invalid_api_key", message="the key is not valid"),
    "forbidden_403": Fault(403, code="permission", message="not allowed for this key"),
    "model_not_found_404": Fault(404, code="model_not_found", message="the model does not exist"),
    "quota_429": Fault(429, code="insufficient_quota", message="you exceeded your current quota"),
}
_CHANGES = (
    "refusal content_filter length logprobs_null label_a_missing label_b_missing outside odd_spelling other_model"
    " usage_null fenced preamble thinking"
).split()

PASSING = tuple(_PASSING)
"""Kinds that go away: drawn anew at each attempt. Those with a status of 200 (from ``reset_body`` on) are billed."""
LASTING = tuple(_LASTING)
"""Refusals that stay: the same body gets the same at each attempt. None is billed."""
ANSWERS = tuple(_CHANGES)
"""Odd answers, billed, the same at each attempt. ``logprobs_null``, ``label_…_missing`` (no spelling of it among the
likeliest) and ``outside`` (-9999.0 for the label drawn) change nothing where no log-probabilities were asked for;
``odd_spelling`` nothing in an answer by a schema;
``fenced`` (JSON in a code fence) and ``preamble`` (a sentence before it) nothing in any other; ``thinking``: a model whose
first token is ``<think>``, and which does not come to an end; ``content_filter`` is a 400 at Anthropic, as theirs is."""
KINDS: Mapping[str, Fault] = {
    **{name: replace(fault, kind=name) for name, fault in (_PASSING | _LASTING).items()},
    **{name: Fault(change=name, kind=name) for name in ANSWERS},
}
"""Each kind's fault by its name. ``hang`` and ``drip`` last a second here; see `FaultMix` for other times."""

Scripted = Fault | str | None
Faults = Callable[[int, dict[str, Any]], Scripted] | Mapping[int, Scripted]
"""Scripted faults, or names of kinds: by number of the request (from 0, in order of arrival), or a function of number
and body."""


@dataclass(frozen=True)
class FaultMix:
    """Faults drawn with a seed: of ``rate`` of all attempts, evenly over ``kinds``.

    Passing kinds are drawn from (seed, body, attempt), the others from (seed, body): a request that gets an odd answer
    or a lasting refusal gets it whenever it is asked.

    most: faulty attempts that one body has at most before it passes (lasting kinds and odd answers excepted).
    hang, drip: seconds of the kinds of these names; more than the client's patience, or they go unnoticed.
    retry_after: seconds that the kind of this name asks for. A kind named several times is drawn as often.
    """

    rate: float = 0.25
    seed: int = 0
    kinds: tuple[str, ...] = PASSING
    most: int | None = None
    hang: float = 30.0
    drip: float = 30.0
    retry_after: float = 0.2

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds or not 0 <= self.rate <= 1:
            raise ValueError(f"rate in [0, 1] and one kind at least; unknown kinds: {unknown}")

    def draw(self, key: str, attempt: int) -> Fault | None:
        """Return the fault of an attempt, or None. key: the body's hash. attempt: of that body, from 0."""
        lasting = [kind for kind in self.kinds if kind not in _PASSING]
        passing = [kind for kind in self.kinds if kind in _PASSING]
        stays = self.rate * len(lasting) / len(self.kinds)
        if uniform(self.seed, "lasting", key) < stays:
            return self._fault(_pick(lasting, uniform(self.seed, "which", key)))
        # Given that nothing lasting hit, so that the rate is that of all attempts together.
        passes = (self.rate - stays) / (1 - stays) if stays < 1 else 0.0
        if passing and uniform(self.seed, "passing", key, attempt) < passes and not self._spent(key, attempt, passes):
            return self._fault(_pick(passing, uniform(self.seed, "which", key, attempt)))
        return None

    def _spent(self, key: str, attempt: int, passes: float) -> bool:
        if self.most is None:
            return False
        return sum(uniform(self.seed, "passing", key, before) < passes for before in range(attempt)) >= self.most

    def _fault(self, kind: str) -> Fault:
        fault = named(kind)
        if kind == "retry_after":
            return replace(fault, headers={"retry-after": f"{self.retry_after:g}"})
        return replace(fault, hang=fault.hang and self.hang, drip=fault.drip and self.drip)


def named(kind: str) -> Fault:
    """Return the fault of a kind, its date (two seconds ahead) filled in. Raises ValueError for an unknown name."""
    if kind not in KINDS:
        raise ValueError(f"no kind of fault is called {kind!r}; there are {', '.join(KINDS)}")
    fault = KINDS[kind]
    if fault.headers.get("retry-after") == "DATE":
        return replace(fault, headers={"retry-after": formatdate(time.time() + 2, usegmt=True)})
    return fault


def scripted(faults: Faults | None, number: int, body: dict[str, Any]) -> Fault | None:
    """Return what a script says of a request."""
    found = faults(number, body) if callable(faults) else (faults or {}).get(number)
    return named(found) if isinstance(found, str) else found


def _pick(kinds: list[str], u: float) -> str:
    return kinds[int(u * len(kinds))]
