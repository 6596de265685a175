"""What a run still needs from outside its configuration: a key, the network, a package, a GPU; each with what to do."""

from __future__ import annotations

import os
from pathlib import Path

from .config import BLOCKS, Config
from .models import missing_model
from .options import Options, Secret
from .settings import HUMAN_JUDGE
from .terms import check_terms


def check_reward(config: Config) -> tuple[str, ...]:
    """Check terms against scalarizer and calibration. Raises `UserError`; returns what is set and not used."""
    settings = config.settings
    scalarizer = config.plugins.find("scalarizer", settings.scalarizer.use)
    return check_terms(settings.principles, scalarizer, settings.reward)


def needed_before_run(config: Config) -> list[str]:
    """What is missing outside the configuration (a key, the network, a package, a GPU), each line with what to do."""
    settings, plugins, lines = config.settings, config.plugins, []
    used = {settings.judge_of(principle.name) for principle in config.principles} - {HUMAN_JUDGE}
    used |= {settings.evaluation.judge} if settings.evaluation.judge else set()
    blocks = [("feedback_provider", config.judge_block(judge), f"judges.{judge}") for judge in sorted(used)]
    blocks += [(kind, config.block(key), key) for key, kind in BLOCKS.items()]
    for kind, block, where in blocks:
        options = plugins.options(kind, block)
        lines += [f"{where}: {line}" for line in _unset_secrets(options)]
        missing = plugins.find(kind, block["use"]).missing
        lines += [f"{where}: {line}" for line in (missing(options) if missing else ())]
    targets = {"target": settings.target, "preference_model.base": settings.pm_base}
    for where, target in targets.items():
        lines += [f"{where}: {line}" for line in missing_model(target, plugins)]
        if target.quantize and not _has_gpu():
            lines.append(f"{where}.quantize: needs an NVIDIA GPU and the package bitsandbytes")
    if settings.device.startswith("cuda") and not _has_gpu():
        lines.append("device: no GPU is there; say device: auto")
    return list(dict.fromkeys(lines))


def _unset_secrets(options: Options) -> list[str]:
    values = (getattr(options, name) for name in type(options).model_fields)
    unset = [value for value in values if isinstance(value, Secret) and not os.environ.get(value)]
    return [f"the environment variable {name} is not set; export it with the key" for name in unset]


def _has_gpu() -> bool:
    """Look for a GPU's device file: cheap, and enough to give advice."""
    return any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))
