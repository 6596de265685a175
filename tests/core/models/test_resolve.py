"""Resolving a model: offered, folder, hub id; the cache survives kill -9, other processes and damage."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from morlaif_core import Target, UserError, hub_problem
from morlaif_core.models.resolve import cache_folder, folder_fingerprint, missing_model
from tests.helpers import model_makers
from tests.helpers.model_makers import Letters, fake_plugins, resolve
from tests.helpers.places import ROOT

HUB_ID = "someone/some-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test caches of its own, and no hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    Letters.made.clear()
    return tmp_path / "cache"


def content(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_an_offered_model_is_made_once(cache: Path) -> None:
    first = resolve("letters")
    assert first.source == "made"
    assert Path(str(first.target.model)) == cache / "morlaif" / "models" / first.fingerprint
    again = resolve({"use": "letters"})
    assert again == first
    assert Letters.made == [0]
    assert len(content(str(first.target.model))["model.safetensors"]) == 10_000


def test_what_changes_the_model_changes_its_place_and_nothing_else_does() -> None:
    base = resolve({"use": "letters"})
    assert resolve({"use": "letters", "slow": 0.001}) == base
    others = [
        resolve({"use": "letters", "letters": 5}),
        resolve("letters", seed=1),
        resolve("letters", texts=("other",)),
        resolve("letters", texts=("\n\nHuman: Hi", "\n\nAssistant: Hello")),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_maker_that_learns_nothing_is_cached_once_for_all_texts_and_seeds() -> None:
    first = resolve("converted")
    assert resolve("converted", seed=3, texts=("other",)) == first
    assert Letters.made == [0]


def test_a_damaged_cache_is_made_again() -> None:
    first = resolve("letters")
    before = content(str(first.target.model))
    (Path(str(first.target.model)) / "model.safetensors").write_bytes(b"short")
    assert resolve("letters") == first
    assert content(str(first.target.model)) == before


def test_a_failing_maker_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Letters, "make", fail)
    with pytest.raises(OSError, match="disk full"):
        resolve("letters")
    assert [path.suffix for path in cache_folder().iterdir()] == [".lock"]


def start(slow: float) -> subprocess.Popen[str]:
    """Resolve in another process, which sleeps with half of the model written."""
    command = [sys.executable, model_makers.__file__, str(slow)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def wait_for_half() -> Path:
    """Return the half-made folder of the other process once there is one."""
    for _ in range(600):
        for half in cache_folder().glob("*.part/model.safetensors"):
            if half.stat().st_size >= 5_000:
                return half.parent
        time.sleep(0.05)
    raise AssertionError("the other process made nothing in 30 s")


def test_kill_9_while_making_then_the_same_again() -> None:
    process = start(60)
    half = wait_for_half()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half.is_dir()
    made = resolve("letters")
    assert not half.exists()
    killed_then_made = content(str(made.target.model))
    for path in Path(str(made.target.model)).iterdir():
        path.unlink()
    assert resolve("letters") == made
    assert content(str(made.target.model)) == killed_then_made


def test_two_processes_make_one_model() -> None:
    first = start(1.5)
    wait_for_half()
    second = start(0)
    outputs = [process.communicate(timeout=60)[0].split(maxsplit=1) for process in (first, second)]
    assert [count for count, _ in outputs] == ["1", "0"]
    assert outputs[0][1] == outputs[1][1]


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    first = resolve(str(folder), revision="main")
    assert first.source == "folder"
    assert first.target == Target(model=str(folder))
    assert first.fingerprint == folder_fingerprint(folder)
    os.utime(folder / "config.json", (0, 0))
    (folder / "notes.txt").write_text("no part of the model")
    assert resolve(str(folder)) == first
    (folder / "model.safetensors").write_bytes(b"x" * 99 + b"y")
    assert resolve(str(folder)).fingerprint != first.fingerprint


def test_a_large_file_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morlaif_core.models.resolve._WHOLE", 1 << 17)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(1 << 20))
    before = folder_fingerprint(tmp_path)
    weights.write_bytes(bytes((1 << 20) - 1) + b"\1")
    assert folder_fingerprint(tmp_path) != before


def cached_hub_model(cache: Path) -> Path:
    repository = cache / "huggingface" / "hub" / "models--someone--some-model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"x")
    return snapshot


def test_a_hub_id_is_pinned_to_its_commit(cache: Path) -> None:
    plugins = fake_plugins()
    assert "connect to the hub" in missing_model(Target(model=HUB_ID), plugins)[0]
    cached_hub_model(cache)
    found = resolve(HUB_ID)
    assert found.source == "hub"
    assert found.target == Target(model=HUB_ID, revision=COMMIT)
    assert resolve(HUB_ID, revision=COMMIT) == found
    assert missing_model(Target(model=HUB_ID), plugins) == []


@pytest.fixture
def hub_on_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A hub that takes connections, and an environment that allows it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


def test_a_hub_model_is_missing_only_where_the_hub_cannot_give_it(
    hub_on_loopback: socket.socket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, plugins = Target(model=HUB_ID), fake_plugins()
    assert missing_model(target, plugins) == [], "the run will download it"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids the hub" in missing_model(target, plugins)[0]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub_on_loopback.close()
    assert "cannot be reached" in missing_model(target, plugins)[0]
    cached_hub_model(cache)
    assert missing_model(target, plugins) == []
    (cached_hub_model(cache) / "model.safetensors").unlink()
    assert "cannot be reached" in missing_model(target, plugins)[0], "a snapshot without weights"


def test_why_the_hub_gives_nothing(hub_on_loopback: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_problem() is None
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "true")
    assert hub_problem() is None
    assert hub_problem("HF_DATASETS_OFFLINE") == "HF_DATASETS_OFFLINE forbids the hub"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:nonsense")
    assert hub_problem() == "the hub cannot be reached"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    assert hub_problem() is None, "only the proxy could tell"


def test_an_unknown_name_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="Did you mean 'letters'"):
        resolve("leters")
    assert "Did you mean 'letters'" in missing_model(Target(model="leters"), fake_plugins())[0]


def test_wrong_blocks_are_clear_errors(tmp_path: Path) -> None:
    plugins = fake_plugins()
    for model, message in (
        ({"letters": 3}, "needs the key use"),
        ({"use": "leters"}, "Did you mean 'letters'"),
        ({"use": "letters", "leters": 3}, "leters"),
        (str(tmp_path / "nothing"), "no model folder"),
        (str(tmp_path), "no config"),
    ):
        with pytest.raises(UserError, match=message):
            resolve(model)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            missing_model(Target(model=model), plugins)


def test_what_is_missing_is_listed_without_heavy_imports() -> None:
    plugins = fake_plugins()
    assert missing_model(Target(model="letters"), plugins) == []
    assert missing_model(Target(model={"use": "letters", "letters": 0}), plugins) == ["letters: write some"]
    lines = missing_model(Target(model="letters", quantize="4bit"), plugins)
    assert all("quantize: 4bit" in line for line in lines)
    code = (
        "import sys; from tests.helpers.model_makers import *; from morlaif_core.models.resolve import missing_model; "
        "missing_model(Target(model='a/b', quantize='8bit'), fake_plugins()); "
        "assert not {'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
