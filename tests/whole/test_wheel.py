"""The wheel and the sdist: built without isolation, installed without an index, tried from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.helpers.places import PLUGINS, ROOT, THIRD_PARTY

pytestmark = [pytest.mark.slow(seconds=3), pytest.mark.timeout(300)]


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env={**clean, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist, and a wheel of the third-party distribution."""
    out = tmp_path_factory.mktemp("dist")
    backend = "import sys; from hatchling.build import build_wheel, build_sdist; "
    backend += "build_wheel(sys.argv[1]); build_sdist(sys.argv[1]) if sys.argv[2] == 'both' else None"
    run(sys.executable, "-c", backend, out, "both", folder=ROOT)
    run(sys.executable, "-c", backend, out, "wheel", folder=THIRD_PARTY)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's bin folder: it sees this one's dependencies, but not its editable morlaif."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip())
    # A path in a .pth file comes last, and .pth files found there are not read: the editable install stays unseen.
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheels = list(built.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, "--ignore-installed", *wheels, folder=home)
    return home / "bin"


def test_the_wheel_holds_code_and_shipped_files_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("morlaif-0*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for shipped in ("principles/helpfulness.yaml", "examples/demo.yaml", "registry.yaml"):
        assert f"morlaif_bundle/{shipped}" in names
    for source in [*(PLUGINS).glob("*/*.py"), *(ROOT / "morlaif_core").rglob("*.py")]:
        base = PLUGINS if PLUGINS in source.parents else ROOT
        assert str(source.relative_to(base)) in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {
        "morlaif", "morlaif_core", "morlaif_bundle", *(item.name for item in (PLUGINS).glob("morlaif_*"))
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "plugins"))]


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"principles/helpfulness.yaml", "examples/demo.yaml", "registry.yaml", "pyproject.toml", "Makefile"} <= names
    assert {"plugins/morlaif_ppo/__init__.py", "morlaif_core/cli/main.py", "tests/conftest.py", "README.md"} <= names
    assert not [name for name in names if name.startswith((".venv", "runs", ".git/"))]


def test_the_installed_wheel_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import morlaif_core; print(morlaif_core.__file__)", folder=tmp_path)
    assert str(installed.parent) in where
    out = run(installed / "morlaif", "principles", folder=tmp_path)
    assert "helpfulness" in out
    assert "shipped" in out
    out = run(installed / "morlaif", "check", "demo", folder=tmp_path)
    assert "ready to run" in out
    assert "shipped demo.yaml" in out
    assert "0.1.0" in run(installed / "morlaif", "--version", folder=tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_third_party_wheel_is_found_beside_it(installed: Path, tmp_path: Path) -> None:
    out = run(installed / "morlaif", "plugins", "--json", folder=tmp_path, MORLAIF_STRICT="1")
    assert '"name": "median"' in out
    assert '"distribution": "morlaif-moderate"' in out
    assert "lengths " in run(installed / "morlaif", "--help", folder=tmp_path)
    assert "lengths [OPTIONS] RUN" in run(installed / "morlaif", "lengths", "--help", folder=tmp_path)
    sets = ("--set", "scalarizer.use=median", "--set", "judge=brief", "--set", "judges.brief={use: shorter}")
    assert "ready to run" in run(installed / "morlaif", "check", "demo", *sets, folder=tmp_path)
