"""What a run still needs from outside its configuration: a key, the network, a package, a GPU; each with what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morlaif_core.config.config import BLOCKS, Config
from morlaif_core.config.pm_groups import pm_groups
from morlaif_core.config.prices import check_budget
from morlaif_core.models.resolve import missing_model
from morlaif_core.plugins.components import Options, Secret
from morlaif_core.reward.calibration import Calibration
from morlaif_core.reward.terms.resolved_terms import ResolvedTerms
from morlaif_core.reward.terms.weights_and_thresholds import check_terms, resolve_terms

from .errors import UserError
from .types import ScoreMatrix

if TYPE_CHECKING:
    from morlaif_core.plugins.components import Component
    from morlaif_core.plugins.protocols import Scalarizer


def check_reward(config: Config) -> tuple[str, ...]:
    """Check terms against scalarizer and calibration, and try the scalarizer once.

    Returns:
        Notes: see `check_terms`.

    Raises:
        UserError: the terms do not fit, or the scalarizer cannot work with them and its options.
    """
    settings = config.settings
    component = config.plugins.find("scalarizer", settings.scalarizer.use)
    options = config.plugins.options("scalarizer", config.block("scalarizer"))
    notes = check_terms(settings.principles, component, settings.reward, options)
    if not component.all_needs(options) & {"spread", "features"}:  # of which there are none to try it on
        _try_scalarizer(config, component, options)
    return notes


def _try_scalarizer(config: Config, component: Component[Scalarizer], options: Options) -> None:
    """Build and call the scalarizer on a group of two made-up responses. Raises `UserError` where it cannot work.

    A run calls it after judges and preference models are paid for.
    """
    from morlaif_core.reward.scale import scalarize

    try:
        resolved, scores = _made_up(config, component)
        scalarize(component.name, component.build(options), resolved, scores)
    except UserError as error:
        key = re.match(r"scalarizer(\.\w+)*(?=: )", str(error))
        text = str(error) if key else f"scalarizer: {error}"
        raise UserError(_at(config, tuple(key[0].split(".")) if key else ("scalarizer",), text)) from None
    except (Exception, SystemExit) as error:  # a plugin's scalarizer may raise anything
        if os.environ.get("MORLAIF_STRICT") == "1":
            raise
        text = f"scalarizer.use: '{component.name}' cannot be used: {type(error).__name__}: {error}"
        raise UserError(_at(config, ("scalarizer", "use"), text)) from None


def _made_up(config: Config, component: Component[Scalarizer]) -> tuple[ResolvedTerms, ScoreMatrix]:
    """The terms as if every reference response had scores of 0, and scores of two responses that differ everywhere."""
    import numpy as np

    settings, names = config.settings, tuple(config.settings.principles)
    k, clip = len(names), settings.reward.clip
    calibration = Calibration("none", clip, names, (0.0,) * k, (1.0,) * k)
    reference = ScoreMatrix(np.zeros((2, k), dtype=np.float32), names, ("", ""))
    resolved = resolve_terms(settings.principles, component, settings.reward, calibration, reference)
    # Different in every column and of both signs: a scalarizer that fails on such scores fails in the run.
    row = clip / 2 * np.arange(1, k + 1) / k
    return resolved, replace(reference, values=np.array([row, -row], dtype=np.float32))


def _at(config: Config, path: tuple[str, ...], text: str) -> str:
    """A message with the layer to mend."""
    origin = config.layers.nearest(path)
    return text if origin == "default" else f"{text} [{origin}]"


def check_judging(config: Config) -> None:
    """The judges can be asked as the configuration says, and a budget in USD can be kept. Raises `UserError`."""
    from morlaif_core.feedback.asking.requests import asking_of, template_of

    check_budget(config)
    for judge in config.settings.asked_singles:
        block = config.judge_block(judge)
        component = config.plugins.find("feedback_provider", block["use"])
        judging = config.settings.judging_of(judge)
        try:
            template_of(judging)
            if component.capabilities is not None:
                asking_of(component.capabilities(config.plugins.options("feedback_provider", block)), judging)
        except UserError as error:
            raise UserError(f"judges.{judge}: {error}") from None


def needed_before_run(config: Config) -> list[str]:
    """What is missing outside the configuration (a key, the network, a package, a GPU), each line with what to do."""
    settings, plugins = config.settings, config.plugins
    lines = needed_by_judges(config, settings.asked_singles)
    blocks = [(kind, config.block(key), key) for key, kind in BLOCKS.items() if kind != "pm_backend"]
    groups = pm_groups(config)
    blocks += [("pm_backend", group.block, group.key) for group in groups]
    lines += [line for kind, block, key in blocks for line in _needed(config, kind, block, key)]
    targets = {"target": settings.target, **{f"{group.key}.base": group.base for group in groups}}
    for where, target in targets.items():
        lines += [f"{where}: {line}" for line in missing_model(target, plugins)]
    if settings.device.startswith("cuda") and not _has_gpu():
        lines.append("device: no GPU is there; say device: auto")
    # Target and preference-model base are often one model, and lack the same.
    return list(dict.fromkeys(lines))


def needed_by_judges(config: Config, judges: Iterable[str]) -> list[str]:
    """What providers' judges need from outside before they can be asked, each line with what to do."""
    blocks = {judge: config.judge_block(judge) for judge in judges}
    return [
        line for name, block in blocks.items() for line in _needed(config, "feedback_provider", block, f"judges.{name}")
    ]


def _needed(config: Config, kind: str, block: dict[str, Any], where: str) -> list[str]:
    options = config.plugins.options(kind, block)
    missing = config.plugins.find(kind, block["use"]).missing
    try:
        lines = _unset_secrets(options) + list(missing(options) if missing else ())
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return [f"{where}: {line}" for line in lines]


def _unset_secrets(options: Options) -> list[str]:
    values = (getattr(options, name) for name in type(options).model_fields)
    unset = [value for value in values if isinstance(value, Secret) and not os.environ.get(value)]
    return [f"the environment variable {name} is not set; export it with the key" for name in unset]


def _has_gpu() -> bool:
    """Look for a GPU's device file: cheap, and enough to give advice."""
    return any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))
