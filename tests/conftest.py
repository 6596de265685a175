"""What all tests share: no connection beyond loopback, one thread, own caches, what is made once, the order of tests."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUARD = ROOT / "tests" / "guard"
WORKER = "PYTEST_XDIST_WORKER" in os.environ
# The workers of a session inherit the folder that the process which started them made, and leave it to that.
CACHE = Path(os.environ["XDG_CACHE_HOME"]) if WORKER else Path(tempfile.mkdtemp(prefix="morlaif-tests-"))
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
)
if not WORKER:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(GUARD), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.setdefault("HF_HOME", str(CACHE / "huggingface"))
for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MORLAIF_STRICT"):
    os.environ.pop(name, None)
sys.path[:0] = [path for path in (str(ROOT), str(GUARD)) if path not in sys.path]

from loopback import REFUSED, refuse_strangers  # noqa: E402

from tests.helpers.shared_folders import SharedFolders  # noqa: E402
from tests.helpers.small_run import small  # noqa: E402

refuse_strangers()


@dataclass
class Seen:
    """The file of the test before, and how many modules were imported when the collector last laid aside its objects."""

    file: Path | None = None
    modules: int = 0


SEEN = Seen()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Take the options of pytest-xdist that pyproject.toml gives also where it is left out (``-p no:xdist``)."""
    if not pluginmanager.hasplugin("xdist"):
        for name in ("--numprocesses", "--dist"):
            parser.addoption(name, help="of pytest-xdist, which is not there")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; files named one by one run in this one: to start others takes longer than most of them."""
    named = [argument.partition("::")[0].endswith(".py") for argument in config.args]
    return 0 if named and all(named) else min(8, len(os.sched_getaffinity(0)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, the slowest of them at the very start: then all workers are busy to the end."""
    items.sort(key=lambda item: -seconds(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Collect what the tests of another file left behind: what is wrong with it is not this one's.

    What imported libraries hold is then taken out of the collector's sight. To look at each object of torch and
    transformers takes it half a second, and a small run collects eleven times.
    """
    if item.path != SEEN.file:
        SEEN.file = item.path
        gc.collect()
    if len(sys.modules) > SEEN.modules + 100:
        SEEN.modules = len(sys.modules)
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    """The session's caches go with it; within it the tiny base model is made once."""
    if not WORKER:
        shutil.rmtree(CACHE, ignore_errors=True)


def seconds(item: pytest.Item) -> float:
    """How long a test is said to take, by its mark ``slow``; none: no time."""
    mark = item.get_closest_marker("slow")
    return float(mark.kwargs.get("seconds", 10)) if mark else 0.0


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """What any test of the session may read and one of them makes."""
    return SharedFolders(CACHE / "shared", tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def finished(shared: SharedFolders) -> Path:
    """A finished small run of the demo's pipeline; read only: a test that changes it works on a copy."""
    return shared.made("finished", lambda folder: small(folder / "run")) / "run"


@pytest.fixture(autouse=True)
def _loopback_only() -> Iterator[None]:
    """A test that tried to leave the machine fails, also where the code under test swallowed the refusal."""
    REFUSED.clear()
    yield
    assert not REFUSED
