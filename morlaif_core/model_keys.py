"""The keys that name a model: an offered name goes before a folder, a folder before a hub id."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .errors import UserError
from .layering import TARGETS, Layers, absolute
from .options import Target
from .plugins import Plugins


def name_folders(layers: Layers, plugins: Plugins) -> None:
    """Make a model's name absolute where a folder of that name lies beside its layer and no plugin offers the name."""
    for path in (found for block in TARGETS for found in (block, (*block, "model"))):
        value, folder = layers.at(path), layers.folder(path)
        if isinstance(value, str) and folder is not None and not plugins.offers("model", value):
            local = absolute(value, folder)
            if os.path.isdir(local):
                layers.at(path[:-1])[path[-1]] = local


def check_revisions(target: Target, base: Target | None, layers: Layers, plugins: Plugins) -> None:
    """Raise `UserError` where a revision is asked of what has none: an offered model, or a folder."""
    for path, model in _given(target, base):
        if isinstance(model.model, dict) or plugins.offers("model", model.model):
            kind = "an offered model"
        elif os.path.isdir(os.path.expanduser(model.model)):
            kind = "a folder"
        else:
            continue
        key, origin = ".".join(path), layers.nearest((*path, "revision"))
        raise UserError(f"{key}.revision: only the hub's models have revisions, {key}.model is {kind} [{origin}]")


def _given(target: Target, base: Target | None) -> Iterator[tuple[tuple[str, ...], Target]]:
    yield from ((path, model) for path, model in zip(TARGETS, (target, base), strict=True) if model and model.revision)
