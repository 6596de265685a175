"""What all tests share: no connection beyond loopback, one thread, own caches."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUARD = ROOT / "tests" / "guard"
CACHE = Path(tempfile.mkdtemp(prefix="morlaif-tests-"))
# Set before any test imports a library that reads them; children inherit them.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    DO_NOT_TRACK="1",
    XDG_CACHE_HOME=str(CACHE),
    PYTHONPATH=os.pathsep.join([str(GUARD), *filter(None, [os.environ.get("PYTHONPATH")])]),
)
os.environ.setdefault("HF_HOME", str(CACHE / "huggingface"))
for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MORLAIF_STRICT"):
    os.environ.pop(name, None)
sys.path[:0] = [path for path in (str(ROOT), str(GUARD)) if path not in sys.path]

from loopback import REFUSED, refuse_strangers  # noqa: E402

refuse_strangers()


@pytest.fixture(scope="session", autouse=True)
def _session() -> Iterator[None]:
    """The session's caches go with it; within it the tiny base model is made once."""
    yield
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _loopback_only() -> Iterator[None]:
    """A test that tried to leave the machine fails, also where the code under test swallowed the refusal."""
    REFUSED.clear()
    yield
    assert not REFUSED
