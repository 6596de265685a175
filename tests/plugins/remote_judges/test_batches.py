"""Batches of both API judges: answers as of single requests, each entry's own fate, and no key left behind."""

from __future__ import annotations

import asyncio
import io

import pytest

from morlaif_core import (
    Answer,
    ProviderError,
)
from morlaif_core.testing import Fault, FaultServer
from tests.helpers.remote_apis import API, CANARY, ask, batch, requests_of


def test_batches_answer_as_single_requests_do(api: API) -> None:
    with FaultServer(redraws=False) as server:
        requests, results = batch(api.build(api.address(server)), n=4)
        alone = {key: ask(api.build(api.address(server)), request) for key, request in requests.items()}
        assert len(server.paid()) == 8
    assert dict(results) == alone
    assert all(isinstance(answer, Answer) for answer in alone.values())


def test_each_entry_of_a_batch_has_its_own_fate(api: API) -> None:
    faults = {0: "hang", 1: "too_long_400", 2: "refusal", 3: "reset_body", 4: "overloaded_529", 5: "content_filter"}
    with FaultServer(faults=faults) as server:
        requests, results = batch(api.build(api.address(server)), n=7)
    fates = [results.get(key) for key in requests]
    told = [fate.kind if isinstance(fate, ProviderError) else fate and fate.finish for fate in fates]
    assert told[:6] == ["transient", "item", "refused", None, "transient", "filtered"]
    assert told[6] in ("stop", "length")
    assert not any(fate.billed for fate in fates if isinstance(fate, ProviderError))


@pytest.mark.parametrize(
    ("fault", "kind", "billed"),
    [
        (Fault(401, "{}"), "run", False),
        (Fault(503, ""), "transient", False),
        (Fault(429, "", {"retry-after": "3"}), "rate", False),
        (Fault(200, "{"), "transient", True),
        (Fault(200, "{}"), "transient", True),
        (Fault(cut="body"), "transient", True),
    ],
)
def test_calls_about_batches_fail_like_others(api: API, fault: Fault, kind: str, billed: bool) -> None:
    broken = False

    async def calls() -> list[ProviderError]:
        nonlocal broken
        provider = api.build(api.address(server))
        request = requests_of(provider)[0]
        made = await provider.submit({"a" * 64: request}, name="x")
        broken, errors = True, []
        for call in (lambda: provider.submit({"b" * 64: request}, name="y"), lambda: provider.fetch(made)):
            try:
                await call()
            except ProviderError as error:
                errors.append(error)
        await provider.aclose()
        return errors

    with FaultServer(batch_faults=lambda number, call: fault if broken else None) as server:
        errors = asyncio.run(calls())
    assert [(error.kind, error.billed) for error in errors] == [(kind, billed)] * 2


def test_a_batch_that_is_not_there_stops_the_run(api: API) -> None:
    async def fetch() -> None:
        provider = api.build(api.address(server))
        try:
            await provider.fetch("../../secrets")
        finally:
            await provider.aclose()

    with FaultServer() as server, pytest.raises(ProviderError, match="not found") as failed:
        asyncio.run(fetch())
    assert failed.value.kind == "run"


def test_batches_leave_no_key_behind(api: API, logged: io.StringIO) -> None:
    with FaultServer() as server:
        batch(api.build(api.address(server)), n=2)
    assert "batches" in logged.getvalue()
    assert CANARY not in logged.getvalue()
