"""`full` with many principles: one model in memory at a time, and the same scores as with all of them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morlaif_core.models.backbones import LocalBackbones
from morlaif_pm import full
from morlaif_pm.options import FullOptions
from tests.helpers.preference_jobs import BACKENDS, flat, job_in, preferences


def test_twelve_models_are_loaded_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_in(tmp_path, "gpt2", ("kind", "rude"))
    BACKENDS["full"].train(job)
    for index in range(10):
        (job.out / f"p{index}").symlink_to(job.out / "kind")
    names = ("kind", "rude", *(f"p{index}" for index in range(10)))
    alive: Any = weakref.WeakSet()
    most = []
    found = full.load_scorer

    def watched(*args: Any, **more: Any) -> Any:
        model = found(*args, **more)
        alive.add(model)
        most.append(len(alive))
        return model

    monkeypatch.setattr(full, "load_scorer", watched)
    prompts, responses = flat(preferences(5, "kind", 5))
    scores, model = {}, None
    for small in (0, 2**40):
        del model  # that of the round before
        gc.collect()
        monkeypatch.setattr(full, "SMALL", small)
        model = full.FullBackend(FullOptions()).load(job.out, names, job.base, LocalBackbones("cpu"))
        before = torch.get_rng_state()
        scores[small] = [model.score(prompts, responses).values for _ in range(2)]
        assert torch.equal(before, torch.get_rng_state())
        assert max(most[-12:]) == (12 if small else 1)
        assert len(most) == (36 if small else 24), "where they fit they are loaded once"
    assert all(np.array_equal(one, scores[0][0]) for pair in scores.values() for one in pair)


def test_no_empty_model_card_is_left(tmp_path: Path) -> None:
    job = job_in(tmp_path, "gpt2", ("kind",))
    BACKENDS["lora"].train(job)
    assert (job.out / "kind" / "adapter_config.json").exists()
    assert not list(job.out.rglob("README.md"))
