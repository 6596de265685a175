"""A small run whose preference models are trained, and what `morlaif preview` makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.previews import SMALL, called
from tests.helpers.shared_folders import SharedFolders
from tests.helpers.small_run import small

SETS = (
    "prompts={pm: 24, validation: 0.25, calibration: 10, rl: 70, evaluation: 8}",
    "dataset.prompts=400",
    "scalarizer={use: soft_max_min, temperature: 0.3}",
)


@pytest.fixture(scope="session")
def trained(shared: SharedFolders) -> Path:
    """A run with preference models and no policy; read only."""
    return shared.made("trained", lambda folder: small(folder / "run", *SETS, until="train-pms")) / "run"


@pytest.fixture(scope="session")
def shown(trained: Path, shared: SharedFolders) -> Path:
    """The run previewed on 40 prompts with 3 responses; read only."""

    def preview(folder: Path) -> None:
        assert called(shutil.copytree(trained, folder / "run"), *SMALL) == 0

    return shared.made("shown", preview) / "run"


@pytest.fixture
def copied(shown: Path, tmp_path: Path) -> Path:
    """A previewed run that a test may change."""
    return Path(shutil.copytree(shown, tmp_path / "run"))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing in this process: drawing takes nearly all of the command's time."""
    monkeypatch.setattr("morlaif_analysis.preview.pictures.draw", lambda result, folder: [])
