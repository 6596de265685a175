"""Checkpoints that a killed run goes on from bit for bit, and the final weights.

``checkpoint-STEP/`` appears whole, by rename: policy/ (loadable by itself), state.pt (value head, optimizer, schedule,
random states), reward.json, training.json. A folder under another name is what a kill left; it is thrown away.

Leaves out: fsync: what holds is for a killed process, not for a power cut; and sharded files, because one process trains.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morlaif_core import Policy, PolicyJob, UserError

from .options import PPOOptions, goes_on, results
from .state import Training, build, save_policy

KEPT = 2
DONE = "done.json"
_PART = ".part"


def save(training: Training, job: PolicyJob, options: PPOOptions) -> Path:
    """Write ``job.out/checkpoint-STEP`` and remove all but the last two; returns it."""
    folder = folder_of(training, job)
    part = _fresh(job.out / f"{folder.name}{_PART}")
    save_policy(training.network, job.target, part / "policy")
    torch.save(_state(training), part / "state.pt")
    _write_json(part / "reward.json", job.reward.state())
    facts = {"step": training.step, "kl": training.kl, "stopped": training.stopped}
    place = training.step * options.prompts_per_step
    _write_json(part / "training.json", {**facts, "prompts_drawn": place, "options": results(options)})
    # os.replace does not take the place of a folder that holds files.
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    # Only now, so that there is a whole checkpoint at any time.
    for old in checkpoints(job.out)[:-KEPT]:
        shutil.rmtree(old)
    return folder


def folder_of(training: Training, job: PolicyJob) -> Path:
    """Return where the checkpoint of the present step belongs."""
    return job.out / f"checkpoint-{training.step}"


def is_done(job: PolicyJob, options: PPOOptions) -> bool:
    """Say whether training has ended in ``job.out``; one of fewer steps that nothing stopped goes on."""
    if not (job.out / DONE).is_file():
        return False
    facts = json.loads((job.out / DONE).read_text(encoding="utf-8"))
    return bool(facts.get("stopped")) or facts.get("steps", options.steps) >= options.steps


def checkpoints(out: Path) -> list[Path]:
    """Return the whole checkpoints in a folder, earliest first."""
    found = [path for path in out.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def resume(job: PolicyJob, options: PPOOptions) -> Training:
    """Return training as its last checkpoint left it, or at its start.

    Raises `UserError` where the checkpoint was made with other options: its results would be neither's.
    """
    for left in job.out.glob(f"*{_PART}"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    found = checkpoints(job.out)
    if not found:
        return build(job, options, None)
    facts = json.loads((found[-1] / "training.json").read_text(encoding="utf-8"))
    # Over the defaults, since a checkpoint of an earlier version lacks options that are new.
    made = {**results(PPOOptions()), **facts["options"]}
    # Without a value head its options change nothing, whatever their defaults were.
    unused = () if options.uses_value else ("value_learning_rate", "value_clip", "value_coefficient")
    differ = [name for name, value in results(options).items() if made[name] != value and name not in unused]
    if differ and (
        differ != ["steps"] or goes_on(options.model_copy(update={"steps": made["steps"]}), options) is not None
    ):
        raise UserError(f"{found[-1]} was made with other trainer options; move {job.out} away or restore the options")
    # First: a reward that cannot go on, being another one, says so before any model is loaded.
    restore_reward(job)
    training = build(job, options, found[-1] / "policy")
    training.step, training.kl, training.stopped = facts["step"], facts["kl"], facts["stopped"]
    # Last, because making the models drew from the generators. weights_only: a pickle could run code.
    _restore(training, torch.load(found[-1] / "state.pt", map_location=training.network.device, weights_only=True))
    return training


def restore_reward(job: PolicyJob) -> None:
    """Bring the reward to where the last checkpoint left it, if there is one."""
    for folder in checkpoints(job.out)[-1:]:
        job.reward.restore(json.loads((folder / "reward.json").read_text(encoding="utf-8")))


def finish(training: Training, job: PolicyJob, facts: Mapping[str, object]) -> Policy:
    """Write the final policy into ``job.out``, done.json last; returns it."""
    part = _fresh(job.out / f"final{_PART}")
    save_policy(training.network, job.target, part)
    for path in sorted(part.iterdir()):
        place = job.out / path.name
        if place.is_dir():  # of a run that was killed in this loop; a folder is only renamed over an empty one
            shutil.rmtree(place)
        os.replace(path, place)
    part.rmdir()
    _write_json(job.out / f"{DONE}{_PART}", facts)
    # Last: where done.json is, everything else is whole.
    os.replace(job.out / f"{DONE}{_PART}", job.out / DONE)
    return Policy(job.target, folder=job.out)


def _state(training: Training) -> dict[str, Any]:
    # As plain numbers: with weights_only torch loads no numpy arrays.
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "head": None if training.head is None else training.head.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "scheduler": training.scheduler.state_dict(),
        "python": list(_listed(random.getstate())),
        "numpy": [kind, [int(key) for key in keys], place, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(training: Training, state: Mapping[str, Any]) -> None:
    if training.head is not None:
        try:
            training.head.load_state_dict(state["head"])
        except RuntimeError as error:
            raise UserError(
                "the checkpoint's value head is of an earlier version; move the policy's folder away"
            ) from error
    training.optimizer.load_state_dict(state["optimizer"])
    training.scheduler.load_state_dict(state["scheduler"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    # map_location has moved the states to the GPU; generators take them from the CPU.
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def _listed(state: tuple[Any, ...]) -> list[Any]:
    """Python's random state with its inner tuple as a list: what is loaded are plain values and tensors only."""
    return [list(part) if isinstance(part, tuple) else part for part in state]


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
