"""One of the two API judges after the other, and all that is logged."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tests.helpers.remote_apis import API, APIS, CANARY


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> API:
    chosen = APIS[request.param]
    monkeypatch.setenv(chosen.variable, CANARY)
    return chosen


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that any logger says, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
