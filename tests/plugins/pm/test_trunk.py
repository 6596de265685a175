"""Adapters on the top layers alone: what lies below runs once, and scores are those of the loop over whole passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from morlaif_core import PMJob
from morlaif_pm import build_lora
from morlaif_pm.options import LoraOptions
from morlaif_pm.scoring import Scorers, shared_trunk
from tests.helpers.preference_jobs import QUICK, flat, job_in, preferences
from tests.helpers.tiny_models import FAMILIES

NAMES = ("kind", "rude", "good")


def trained(folder: Path, family: str, top_layers: int | None) -> tuple[PMJob, Scorers]:
    job = job_in(folder, family, NAMES, n=16)
    backend = build_lora(LoraOptions(learning_rate=6e-3, top_layers=top_layers, **QUICK))
    backend.train(job)
    loaded = backend.load(job.out, NAMES, job.base, job.backbones)
    assert isinstance(loaded, Scorers)
    return job, loaded


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_the_loop_and_the_trunk_runs_once(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from morlaif_pm import scoring

    _, model = trained(tmp_path, family, 1)
    assert model.trunk == 2
    prompts, responses = flat(preferences(12, "kind", 5))
    model.batch_tokens = 60  # several batches of unlike length
    runs: list[int] = []
    bottom = scoring.run_bottom
    monkeypatch.setattr(scoring, "run_bottom", lambda *given: runs.append(len(given[1])) or bottom(*given))
    together = model.score(prompts, responses).values
    assert sum(runs) == len(prompts), "each text once, for all principles"
    assert len(runs) > 1
    model.trunk = 0
    one_by_one = model.score(prompts, responses).values
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    assert np.ptp(one_by_one, axis=1).min() > 1e-3, "the adapters differ"
    model.trunk = 2
    assert model.score([], []).values.shape == (0, 3)


def test_no_trunk_where_an_adapter_reaches_down_or_a_family_is_run_whole(tmp_path: Path) -> None:
    _, model = trained(tmp_path, "gpt2", None)
    assert model.trunk == 0
    first = model.columns[0]()
    for config in first.peft_config.values():
        config.layers_to_transform = [2]
    assert shared_trunk(first) == 2
    first.peft_config["rude"].layers_to_transform = [1, 2]
    assert shared_trunk(first) == 1
    first.get_base_model().config.model_type = "mamba"
    assert shared_trunk(first) == 0
    assert torch.is_grad_enabled()
