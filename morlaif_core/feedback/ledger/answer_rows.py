"""From an answer to the ledger's rows: one per principle that was asked, with what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from morlaif_core.config.judge_settings import FREE, Price
from morlaif_core.feedback.answers.reading import rationale_place, read_answer, read_joint
from morlaif_core.feedback.answers.verdict import Reading, sigmoid
from morlaif_core.feedback.asking.requests import Asking, Work
from morlaif_core.feedback.asking.styles import template_hash
from morlaif_core.feedback.asking.wordings import wording_of
from morlaif_core.redaction import one_line, redact
from morlaif_core.types import Answer, Request, Usage, content_hash

from .amounts import usd
from .tables import Row

T = TypeVar("T")


@dataclass(frozen=True)
class Sent(Generic[T]):
    """An answer, or the error (redacted) that ended the attempts. lost: given up on what may pass later."""

    answer: T | None
    error: str | None = None
    attempts: int = 1
    maybe_billed: int = 0
    seconds: float = 0.0
    lost: bool = False


class Asked(NamedTuple):
    """Who was asked, and how: what all rows of a judge share."""

    judge: str
    identity: str
    asking: Asking
    price: Price | None
    batch: bool = False
    run: str = ""


def rows_of(
    work: Work, request: Request, answer: Answer | None, sent: Sent[Sequence[Answer]], asked: Asked
) -> list[tuple[Row, Reading]]:
    """Return a row and its reading for each principle of a request; answer None: it failed."""
    questions = request.principles or (request.principle,)
    readings = _readings(answer, len(questions), asked.asking)
    usages = _shares(answer.usage if answer is not None else Usage(), len(questions))
    raw = _raw(answer, asked.asking)
    # A server that does not tell the tokens of an answer charges for them all the same.
    untold = answer is not None and answer.usage == Usage() and asked.price != FREE
    rows = []
    for place, usage in enumerate(usages):
        reading = replace(readings[place], cost=None if untold else usd(usage, asked.price, batch=asked.batch))
        logit = reading.logit
        row = Row(
            key=work.rows[place],
            pair=work.pair.id,
            principle=work.principles[place].name,
            question_hash=content_hash(questions[place].question),
            order=work.order,
            judge=asked.judge,
            model=asked.identity,
            model_returned=one_line(answer.model) if answer is not None else "",
            mode=asked.asking.mode,
            template=template_hash(asked.asking.mode, asked.asking.abstain, asked.asking.template),
            status=reading.status,
            # Before `picks`: the direction is applied when rows become a verdict, so that it can be changed for free.
            verdict=None if logit is None else "first" if logit > 0 else "second" if logit < 0 else "tie",
            p_first=None if logit is None else sigmoid(logit),
            logit=logit,
            label_mass=reading.mass,
            censored=reading.censored,
            tokens_in=usage.input,
            tokens_cached=usage.cached,
            tokens_out=usage.output,
            cost=reading.cost,
            attempts=sent.attempts,
            maybe_billed=sent.maybe_billed,
            seconds=round(sent.seconds, 4),
            error=sent.error,
            answer=raw,
            off_logit=reading.off,
            wording=_wording(work, place, asked.asking),
            sample=work.sample,
            batch=asked.batch,
            run=asked.run,
        )
        rows.append((row, reading))
    return rows


def _wording(work: Work, place: int, asking: Asking) -> str:
    """The hash of question and examples as they were shown; who reads pairs is shown neither."""
    if asking.mode == "pair":
        return ""
    return wording_of(work.principles[place], work.pair, asking.few_shots).hash


def _readings(answer: Answer | None, n: int, asking: Asking) -> list[Reading]:
    if answer is None:
        return [Reading("failed")] * n
    if asking.mode == "joint":
        return read_joint(answer, n, abstain=asking.abstain)
    return [read_answer(answer, asking.mode, asking.min_label_mass, abstain=asking.abstain)]


def _shares(usage: Usage, n: int) -> list[Usage]:
    """Share a joint request's tokens among its principles; the first takes what is left over."""
    part = Usage(usage.input // n, usage.cached // n, usage.output // n, usage.written // n)
    m = n - 1
    first = Usage(
        usage.input - part.input * m,
        usage.cached - part.cached * m,
        usage.output - part.output * m,
        usage.written - part.written * m,
    )
    return [first, *[part] * (n - 1)]


def _raw(answer: Answer | None, asking: Asking) -> str | None:
    """Keep what the provider said as JSON, so that it can be read anew.

    Of several positions only the likeliest tokens of the one that was read: those of a whole rationale are 100 kB.
    """
    if answer is None:
        return None
    read = rationale_place(answer) if asking.mode == "rationale" else 0
    top = [dict(likeliest) if place == read else {} for place, likeliest in enumerate(answer.top_logprobs)]
    said = {"text": answer.text, "finish": answer.finish, "top_logprobs": top, "p_first": answer.p_first}
    # A server may repeat the key in an answer.
    return redact(json.dumps(said | ({"tokens": answer.tokens} if answer.tokens else {})))
