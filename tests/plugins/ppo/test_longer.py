"""A finished training of which more steps are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from morlaif_core import Lora, UserError
from morlaif_ppo.options import PPOOptions, goes_on
from morlaif_ppo.trainer import PPO
from tests.helpers.policy_jobs import MANY_CHECKPOINTS, make_job, make_model


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_finished_training_goes_on_to_more_steps_bit_for_bit(tmp_path: Path, kind: str) -> None:
    lora = Lora(r=4) if kind == "lora" else None
    file = "model.safetensors" if lora is None else "adapter_model.safetensors"
    base = make_model(tmp_path / "base", "gpt2")
    options: dict[str, Any] = {**MANY_CHECKPOINTS, "schedule": "constant", "checkpoint_every": 2}
    for name, lengths in (("whole", (4,)), ("longer", (3, 4))):
        for steps in lengths:
            job = make_job(base, tmp_path / name, lora=lora)
            PPO(PPOOptions(**{**options, "steps": steps})).train(job)
    whole, longer = (load_file(tmp_path / name / file) for name in ("whole", "longer"))
    assert whole.keys() == longer.keys()
    assert all(torch.equal(whole[name], longer[name]) for name in whole)
    assert list(job.report.rows) == [4], "what was trained is not trained again"
    assert job.reward.steps == 4
    with pytest.raises(UserError, match="other trainer options"):
        PPO(PPOOptions(**{**options, "steps": 5, "schedule": "linear"})).train(job)


def test_what_is_no_beginning_of_it_begins_anew() -> None:
    old = PPOOptions(steps=4, schedule="constant")
    assert goes_on(old, old.model_copy(update={"steps": 8, "batch": 2})) is None, "batch changes speed alone"
    for change in ({"steps": 3}, {"steps": 8, "kl": 0.1}, {"steps": 8, "schedule": "linear"}):
        assert goes_on(old, old.model_copy(update=change)) == ""
    linear = PPOOptions(steps=4)
    assert "depends on trainer.steps" in str(goes_on(linear, linear.model_copy(update={"steps": 8})))
