"""What the core's tests share: one finished small run, made when first asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_run import small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run of the demo's road; read only: a test that changes it works on a copy."""
    out = tmp_path_factory.mktemp("finished") / "run"
    small(out)
    return out
