"""Tiny real models, and jobs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from morlaif_core import PolicyJob
from tests.helpers.policy_jobs import make_job, make_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a GPT-2 and of a Llama."""
    return {family: make_model(tmp_path_factory.mktemp("models") / family, family) for family in ("gpt2", "llama")}


@pytest.fixture
def job(models: dict[str, Path], tmp_path: Path) -> Callable[..., PolicyJob]:
    """Make jobs: ``job(family="gpt2", out="a", …)``."""
    return lambda family="gpt2", out="policy", **more: make_job(models[family], tmp_path / out, **more)
