"""What the core's tests share: one finished small run, made when first asked for; a place for strangers' plugins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_run import small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run of the demo's road; read only: a test that changes it works on a copy."""
    out = tmp_path_factory.mktemp("finished") / "run"
    small(out)
    return out


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path where distributions lie."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.endswith("_module") or name == "morlaif_moderate":
            del sys.modules[name]
