"""`full` with many principles: models stay loaded while they fit in memory, and score alike however many do."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morlaif_core import PMJob
from morlaif_core.models.backbones import LocalBackbones
from morlaif_pm import full, jobs, kept
from morlaif_pm.options import FullOptions
from morlaif_pm.trainer import Rows
from tests.helpers.preference_jobs import BACKENDS, flat, job_in, preferences

NAMES = ("kind", "rude", *(f"p{index}" for index in range(10)))


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> PMJob:
    """Two trained models, one of them under eleven names."""
    job = job_in(tmp_path_factory.mktemp("twelve"), "gpt2", ("kind", "rude"))
    BACKENDS["full"].train(job)
    for name in NAMES[2:]:
        (job.out / name).symlink_to(job.out / "kind")
    return job


@pytest.mark.parametrize(
    ("keep", "alive_at_most", "loads"),
    [("auto", 12, [12, 0, 0]), (12, 12, [12, 0, 0]), (5, 5, [12, 8, 8]), (1, 1, [12, 12, 12])],
)
def test_a_model_is_loaded_once_while_it_fits(
    twelve: PMJob, monkeypatch: pytest.MonkeyPatch, keep: Any, alive_at_most: int, loads: list[int]
) -> None:
    alive: Any = weakref.WeakSet()
    most = []
    found = full.load_scorer

    def watched(*args: Any, **more: Any) -> Any:
        model = found(*args, **more)
        alive.add(model)
        most.append(len(alive))
        return model

    monkeypatch.setattr(full, "load_scorer", watched)
    options = FullOptions(keep_loaded=keep)
    model = full.FullBackend(options).load(twelve.out, NAMES, twelve.base, LocalBackbones("cpu"))
    prompts, responses = flat(preferences(5, "kind", 5))
    before, counted, scores = torch.get_rng_state(), [0], []
    for _ in loads:
        scores.append(model.score(prompts, responses).values)
        counted.append(len(most))
    assert torch.equal(before, torch.get_rng_state())
    assert np.diff(counted).tolist() == loads
    assert max(most) == alive_at_most
    plain = [load_alone(twelve, name).score(prompts, responses).values[:, 0] for name in ("kind", "rude")]
    expected = np.stack([plain[name == "rude"] for name in NAMES], axis=1)
    assert all(np.array_equal(one, expected) for one in scores)


def load_alone(job: PMJob, name: str) -> Any:
    return full.FullBackend(FullOptions()).load(job.out, (name,), job.base, LocalBackbones("cpu"))


def test_a_third_of_the_free_memory_holds_models_and_one_always_fits() -> None:
    assert [kept.fitting(100, free) for free in (3600, 3599, 250, 0)] == [12, 11, 1, 1]
    assert 0 < kept.free_memory("cpu") < 2**50


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    assert kept._left_to_container(tmp_path) == []
    (tmp_path / "memory.current").write_text("100\n")
    for limit, left in (("max", []), ("1000", [900])):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert kept._left_to_container(tmp_path) == left


def test_how_many_stay_loaded_changes_no_checkpoint(tmp_path: Path) -> None:
    job = job_in(tmp_path, "gpt2", ("kind",))
    rows = Rows([[1]], [[2]], [0.5])
    keys = {jobs.checkpoint_key(job, FullOptions(keep_loaded=keep), "full", "kind", rows) for keep in ("auto", 3)}
    assert len(keys) == 1


def test_no_empty_model_card_is_left(tmp_path: Path) -> None:
    job = job_in(tmp_path, "gpt2", ("kind",))
    BACKENDS["lora"].train(job)
    assert (job.out / "kind" / "adapter_config.json").exists()
    assert not list(job.out.rglob("README.md"))
