"""From an answer to the ledger's rows: one per principle that was asked, with what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from morlaif_core.options import redact
from morlaif_core.settings import Price
from morlaif_core.types import Answer, Principle, Request, ResponsePair, Usage, content_hash

from .ledger import Row
from .prompt import TEMPLATE_HASH
from .requests import Asking, Order
from .sending import Sent
from .verdict import Reading, read_answer, sigmoid


class Work(NamedTuple):
    """One request to be made. rows: the ledger's key of each principle's row, the request's own key where it is one."""

    key: str
    rows: tuple[str, ...]
    pair: ResponsePair
    principles: tuple[Principle, ...]
    order: Order
    sample: int = 0


class Asked(NamedTuple):
    """Who was asked, and how: what all rows of a judge share."""

    judge: str
    identity: str
    asking: Asking
    price: Price | None
    batch: bool = False


def usd(usage: Usage, price: Price | None, *, batch: bool = False) -> float | None:
    """Return what an answer costs in USD, None where no price is known."""
    if price is None:
        return None
    cached = price.input if price.cached is None else price.cached
    fresh = max(0, usage.input - usage.cached)
    total = fresh * price.input + usage.cached * cached + usage.output * price.output
    return total / 1e6 * (price.batch if batch else 1.0)


def rows_of(
    work: Work, request: Request, answer: Answer | None, sent: Sent[Sequence[Answer]], asked: Asked
) -> list[tuple[Row, Reading]]:
    """Return a row and its reading for each principle of a request; answer None: it failed."""
    readings = _readings(answer, work, asked.asking)
    usages = _shares(answer.usage if answer is not None else Usage(), len(readings))
    rows = []
    for key, principle, reading, usage in zip(work.rows, work.principles, readings, usages, strict=True):
        cost = usd(usage, asked.price, batch=asked.batch)
        logit = reading.logit
        row = Row(
            key=key,
            pair=work.pair.id,
            principle=principle.name,
            question_hash=content_hash(request.principle.question),
            order=work.order,
            judge=asked.judge,
            model=asked.identity,
            model_returned=redact(answer.model) if answer is not None else "",
            mode=asked.asking.mode,
            template=TEMPLATE_HASH if request.messages else "",
            status=reading.status,
            verdict=None if logit is None else "first" if logit > 0 else "second" if logit < 0 else "tie",
            p_first=None if logit is None else sigmoid(logit),
            logit=logit,
            label_mass=reading.mass,
            censored=reading.censored,
            tokens_in=usage.input,
            tokens_cached=usage.cached,
            tokens_out=usage.output,
            cost=cost,
            attempts=sent.attempts,
            maybe_billed=sent.maybe_billed,
            seconds=round(sent.seconds, 4),
            error=sent.error,
            answer=_raw(answer),
        )
        rows.append((row, replace(reading, cost=cost)))
    return rows


def _readings(answer: Answer | None, work: Work, asking: Asking) -> list[Reading]:
    if answer is None:
        return [Reading("failed")] * len(work.rows)
    return [read_answer(answer, asking.mode, asking.min_label_mass)]


def _shares(usage: Usage, n: int) -> list[Usage]:
    """Share a joint request's tokens among its principles; the first takes what is left over."""
    part = Usage(usage.input // n, usage.cached // n, usage.output // n)
    rest = Usage(usage.input - part.input * n, usage.cached - part.cached * n, usage.output - part.output * n)
    first = Usage(part.input + rest.input, part.cached + rest.cached, part.output + rest.output)
    return [first, *[part] * (n - 1)]


def _raw(answer: Answer | None) -> str | None:
    """Keep what the provider said as JSON, so that it can be read anew."""
    if answer is None:
        return None
    top = [dict(position) for position in answer.top_logprobs]
    said = {"text": answer.text, "finish": answer.finish, "top_logprobs": top, "p_first": answer.p_first}
    return redact(json.dumps(said | ({"tokens": answer.tokens} if answer.tokens else {})))
