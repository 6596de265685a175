"""What a ledger keeps: a row per answered request, what was spent, batches under way; and their tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from morlaif_core.feedback.types import Status

BatchState = Literal["planned", "sent", "done"]
"""planned: written down, the provider may or may not have it; sent: its id is known; done: fetched, or given up."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request's outcome under one principle.

    p_first, logit, off_logit: before `picks`; off_logit: log-odds of an off_label answer. label_mass: in [0, 1].
    question_hash, wording: hashes of the question, and of question and few-shots as asked. sample: which of several of
    the same question. seconds: of the last attempt. cost: USD, None where no price is known. run: who bought it.
    """

    key: str
    pair: str
    principle: str
    question_hash: str
    order: str
    judge: str
    model: str
    model_returned: str
    mode: str
    template: str
    status: Status
    verdict: str | None
    p_first: float | None
    logit: float | None
    label_mass: float | None
    censored: bool
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cost: float | None
    attempts: int
    maybe_billed: int
    seconds: float
    error: str | None
    answer: str | None
    off_logit: float | None = None
    wording: str = ""
    sample: int = 0
    run: str = ""
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent on a judge: USD, requests sent, tokens read and written."""

    run: str
    judge: str
    usd: float = 0.0
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch under way. id: the provider's, None until it is known. created: Unix time, s.

    keys: of its requests that are not settled yet.
    """

    name: str
    judge: str
    identity: str
    id: str | None
    state: BatchState
    keys: tuple[str, ...]
    created: float


NAMES = tuple(field.name for field in fields(Row))
ADDED = ("off_logit", "wording", "sample", "run", "batch")
"""The columns that format 1 lacks; they stand last, so that an upgraded ledger is as a new one."""
_TYPES = {"key": "TEXT PRIMARY KEY NOT NULL", "censored": "INTEGER NOT NULL", "seconds": "REAL NOT NULL"}
_TYPES |= dict.fromkeys(("tokens_in", "tokens_cached", "tokens_out", "attempts", "maybe_billed"), "INTEGER NOT NULL")
_TYPES |= dict.fromkeys(("p_first", "logit", "label_mass", "off_logit", "cost"), "REAL")
_TYPES |= dict.fromkeys(("verdict", "error", "answer"), "TEXT")
_TYPES |= dict.fromkeys(("wording", "run"), "TEXT NOT NULL DEFAULT ''")
_TYPES |= dict.fromkeys(("sample", "batch"), "INTEGER NOT NULL DEFAULT 0")


def column(name: str) -> str:
    """Return a column of the rows as SQL declares it."""
    return f'"{name}" {_TYPES.get(name, "TEXT NOT NULL")}'


# WITHOUT ROWID: the key is the table's own tree, in place of a second one beside it.
ROWS = f"CREATE TABLE rows ({', '.join(map(column, NAMES))}) WITHOUT ROWID"
SPENDING = (
    "CREATE TABLE spending (run TEXT NOT NULL, judge TEXT NOT NULL, usd REAL NOT NULL, requests INTEGER NOT NULL,"
    " tokens INTEGER NOT NULL, PRIMARY KEY (run, judge)) WITHOUT ROWID"
)
BATCHES = (
    "CREATE TABLE batches (name TEXT PRIMARY KEY NOT NULL, judge TEXT NOT NULL, identity TEXT NOT NULL, id TEXT,"
    " state TEXT NOT NULL, keys TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID"
)

# REPLACE is for rows that failed: what was answered is never asked, so never written, again.
INSERT_ROW = f"INSERT OR REPLACE INTO rows VALUES ({', '.join('?' * len(NAMES))})"
INSERT_BATCH = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_SPENT = (
    "INSERT INTO spending VALUES (?, ?, ?, ?, ?) ON CONFLICT (run, judge) DO UPDATE SET usd = usd + excluded.usd,"
    " requests = requests + excluded.requests, tokens = tokens + excluded.tokens"
)
row_values = attrgetter(*NAMES)
"""A row as its columns; `dataclasses.astuple` copies every value, at ten times the cost."""


def row_of(names: tuple[str, ...], values: tuple[Any, ...]) -> Row:
    """Return a row from its columns; those of a later format take their defaults."""
    named = dict(zip(names, values, strict=True))
    named["censored"] = bool(named["censored"])
    named["batch"] = bool(named.get("batch", False))
    return Row(**named)


def batch_values(batch: Batch) -> tuple[object, ...]:
    """Return a batch as its columns."""
    keys = json.dumps(batch.keys)
    return batch.name, batch.judge, batch.identity, batch.id, batch.state, keys, batch.created


def batch_of(values: tuple[Any, ...]) -> Batch:
    """Return a batch from its columns."""
    name, judge, identity, number, state, keys, created = values
    return Batch(name, judge, identity, number, state, tuple(json.loads(keys)), created)
