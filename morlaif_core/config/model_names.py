"""The keys that name a model: an offered name goes before a folder, a folder before a hub id."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import Target
from morlaif_core.plugins.manager import Plugins

from .layers import LEARNER, TARGETS, Layers, absolute


def name_folders(layers: Layers, plugins: Plugins) -> None:
    """Make a model's name absolute where a folder of that name lies beside its layer and no plugin offers the name."""
    targets = (*TARGETS, *((*path, "base") for path in layers.own_preference_models()))
    paths = [found for block in targets for found in (block, (*block, "model"))]
    for path in (*paths, *_judge_models(layers, plugins), *_given_models(layers, plugins)):
        value, folder = layers.at(path), layers.folder(path)
        # An offered name stays one, also where a folder is called so: the same file means the same anywhere.
        if isinstance(value, str) and folder is not None and not plugins.offers("model", value):
            local = absolute(value, folder)
            if os.path.isdir(local):
                layers.at(path[:-1])[path[-1]] = local


def _judge_models(layers: Layers, plugins: Plugins) -> Iterator[tuple[str, ...]]:
    """Yield the keys of judges' models on this machine: those whose options have ``model`` with the target's type."""
    judges = layers.at(("judges",))
    for name, block in judges.items() if isinstance(judges, dict) else ():
        use = block.get("use") if isinstance(block, dict) else None
        if isinstance(use, str) and plugins.offers("feedback_provider", use):
            with suppress(UserError):  # a name offered twice is told where the block is checked
                model = plugins.find("feedback_provider", use).options.model_fields.get("model")
                if model is not None and model.annotation == Target.model_fields["model"].annotation:
                    yield "judges", name, "model"


def _given_models(layers: Layers, plugins: Plugins) -> Iterator[tuple[str, ...]]:
    """Yield the keys of models whose scores are given: those of backends that learn nothing and have ``model``."""
    for path in ((LEARNER,), *layers.own_preference_models()):
        block = layers.at(path)
        use = block.get("use") if isinstance(block, dict) else None
        if isinstance(use, str) and plugins.offers("pm_backend", use):
            with suppress(UserError):
                component = plugins.find("pm_backend", use)
                if not component.learns and "model" in component.options.model_fields:
                    yield *path, "model"


def check_revisions(targets: Mapping[tuple[str, ...], Target], layers: Layers, plugins: Plugins) -> None:
    """Raise `UserError` where a revision is asked of what has none: an offered model, or a folder. targets: by path."""
    for path, model in targets.items():
        if model.revision is None:
            continue
        if isinstance(model.model, dict) or plugins.offers("model", model.model):
            kind = "an offered model"
        elif os.path.isdir(os.path.expanduser(model.model)):
            kind = "a folder"
        else:
            continue
        key, origin = ".".join(path), layers.nearest((*path, "revision"))
        raise UserError(f"{key}.revision: only the hub's models have revisions, {key}.model is {kind} [{origin}]")
