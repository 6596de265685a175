"""The README, done by a new user: an environment of one's own, an empty folder, the commands as they stand there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.documents import README, ROOT, blocks
from tests.helpers.shared_folders import SharedFolders

pytestmark = pytest.mark.slow(seconds=20)
SMALL = (
    "prompts={pm: 60, validation: 0.2, calibration: 20, rl: 40, evaluation: 20}",
    "preference_model.epochs=1",
    "trainer.steps=2",
    "trainer.prompts_per_step=8",
    "target.model={use: demo-base, steps: 60}",
    "generation.max_new_tokens=24",
)
"""The demo cut small: the same pipeline in seconds."""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that sees what is installed here, with `morlaif` and a `pip` that stays offline."""
    home = tmp_path_factory.mktemp("user")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    ours = sysconfig.get_paths()["purelib"]
    site = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # addsitedir also reads the .pth files there: an editable install is seen too.
    (site / "installed.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    offline = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check"
    pip = f'"{sys.executable}" -m pip --python "{python}"'
    _script(home / "bin" / "pip", f'#!/bin/sh\nverb=$1; shift\nexec {pip} "$verb" {offline} "$@"\n')
    _script(home / "bin" / "morlaif", f"#!{python}\nfrom morlaif_core.cli.main import main\nmain()\n")
    return home


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def follow(user: Path, folder: Path, section: str, small: Sequence[str] = SMALL) -> str:
    """Write the files that a section shows, then run its commands; returns what they print."""
    shown = blocks(README, section)
    for block in shown:
        if block.file:
            block.write(folder)
    script = "".join(block.text for block in shown if block.language == "sh")
    lines = [_cut_small(line, small) for line in script.splitlines()]
    return run(user, folder, "\n".join(lines))


def _cut_small(line: str, small: Sequence[str]) -> str:
    return line + "".join(f" --set '{key}'" for key in small) if line.startswith("morlaif run ") else line


def run(user: Path, folder: Path, script: str) -> str:
    """Run shell commands in a folder; the first that fails fails the test."""
    path = f"{user / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(user: Path, shared: SharedFolders) -> tuple[Path, str]:
    """The folder in which a user added a principle and ran the demo with it, and what was printed."""

    def add(folder: Path) -> None:
        (folder / "work").mkdir()
        (folder / "printed").write_text(follow(user, folder / "work", "Add a principle"))

    folder = shared.made("principle-added", add)
    return folder / "work", (folder / "printed").read_text()


def test_add_a_principle(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    assert "Which response is warmer" in printed
    assert "ready to run" in printed
    results = json.loads((folder / "runs" / "demo+mine" / "results.json").read_text(encoding="utf-8"))
    assert list(results["policy"]) == ["politeness", "warmth"]
    assert (folder / "runs" / "demo+mine" / "preference_models" / "warmth" / "done.json").exists()


def test_commands_of_the_readme_on_a_finished_run(user: Path, finished: tuple[Path, str]) -> None:
    """`status` and `generate`, as the section Install shows them."""
    folder, _ = finished
    (folder / "runs" / "demo").symlink_to("demo+mine")
    lines = [line for block in blocks(README, "Install") for line in block.text.splitlines()]
    chosen = [line for line in lines if line.startswith(("morlaif status", "morlaif generate", "morlaif init"))]
    printed = run(user, folder, "\n".join(chosen).replace("mine.yaml", "new.yaml"))
    assert len(chosen) == 3
    assert "train-policy  done" in printed
    assert "before: " in printed
    assert (folder / "new.yaml").exists()


def test_python_api_page(user: Path, finished: tuple[Path, str]) -> None:
    folder, _ = finished
    (block,) = (item for item in blocks(ROOT / "docs" / "python-api.md") if item.file == "look_at_a_run.py")
    if not (folder / "runs" / "demo").exists():
        (folder / "runs" / "demo").symlink_to("demo+mine")
    block.write(folder)
    assert "politeness" in run(user, folder, "python look_at_a_run.py")


def test_every_number_of_a_run_is_documented(finished: tuple[Path, str]) -> None:
    run_folder = finished[0] / "runs" / "demo+mine"
    results = json.loads((run_folder / "results.json").read_text(encoding="utf-8"))
    pages = {
        name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("judges.md", "run-folder.md", "ppo.md")
    }
    for block in results["judge"].values():
        assert not [key for key in block if f"`{key}`" not in pages["judges.md"]]
    flat = {key for name in ("preference_models", "policy") for block in results[name].values() for key in block}
    flat |= {key for name in ("pairs", "win_rate", "length") for key in results[name]}
    assert not [key for key in [*flat, *results] if key not in pages["run-folder.md"]]
    lines = (run_folder / "policy" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    keys = {"score/PRINCIPLE" if key.startswith("score/") else key for line in lines for key in json.loads(line)}
    assert not [key for key in keys if f"`{key}`" not in pages["ppo.md"]]
    files = {path.relative_to(run_folder).parts[0] for path in run_folder.rglob("*")}
    shown = {name for name in files if not name.startswith(".") and not name.endswith(".lock")}
    assert not [name for name in shown if name not in pages["run-folder.md"]]


def test_use_your_own_data(user: Path, tmp_path: Path) -> None:
    """The six lines, with more rows of the same form than the README has room for."""
    (shown,) = (block for block in blocks(README, "Use your own data") if block.language == "json")
    rows = [json.loads(line) for line in shown.text.splitlines()]
    more = [{**rows[n % 2], "prompt": f"{rows[n % 2]['prompt']} And number {n}?"} for n in range(90)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))
    printed = follow(user, tmp_path, "Use your own data", [key for key in SMALL if not key.startswith("prompts")])
    assert "ready to run" in printed
    manifest = json.loads((tmp_path / "runs" / "demo+own" / "manifest.json").read_text(encoding="utf-8"))
    counts = {name: len(ids) for name, ids in manifest["prompt_sets"].items()}
    assert min(counts.values()) >= 2
    assert sum(counts.values()) == 92
    assert "overall win rate" in printed


def test_mix_judges(user: Path, tmp_path: Path) -> None:
    printed = follow(user, tmp_path, "Mix judges")
    assert "judges.local.base_url" in printed
    assert "OPENAI_API_KEY is not set" in printed


def test_write_a_plugin(user: Path, tmp_path: Path) -> None:
    printed = follow(user, tmp_path, "Write a plugin")
    assert "soft-min" in printed
    assert "scalarizer.temperature" in printed
    assert "set aside" not in printed
    tested = "import test_soft_min; test_soft_min.test_contract()"
    run(user, tmp_path / "soft-min", f'python -c "{tested}"')
    listed = json.loads(run(user, tmp_path, "morlaif plugins --json"))["offers"]
    (offer,) = (item for item in listed if item["name"] == "soft_min")
    assert (offer["plugin"], offer["distribution"]) == ("soft-min", "morlaif-soft-min")


def test_the_plugin_fits_twenty_lines() -> None:
    (module,) = (block for block in blocks(README, "Write a plugin") if block.file.endswith("morlaif_soft_min.py"))
    code = [line for line in module.text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 20
