"""Null in a configuration: a value where the key's type has it; elsewhere the key is as if nobody had said it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from morlaif_core.errors import UserError
from morlaif_core.plugins.components import accepts
from morlaif_core.plugins.manager import Plugins

from .config import BLOCKS
from .judge_settings import CascadeSettings, JudgeSettings, Judging, PanelSettings, Use
from .layers import CHOOSERS, Layers
from .settings import Settings

Keys = tuple[str, ...]


def drop_nulls(layers: Layers, plugins: Plugins) -> None:
    """Take out each null that its key does not have as a value: the default holds there."""
    models: list[tuple[tuple[str, ...], type[Any]]] = [((), Settings)]
    blocks: list[tuple[tuple[str, ...], str]] = [((key,), kind) for key, kind in BLOCKS.items()]
    blocks += [(("target", "model"), "model"), (("preference_model", "base", "model"), "model")]
    for path in layers.own_preference_models():
        blocks += [(path, "pm_backend"), ((*path, "base", "model"), "model")]
    for path, chosen in _judge_kinds(layers):
        blocks.append((path, "feedback_provider"))
        models += [(path, chosen), ((*path, "judging"), Judging)]
    for path, kind in blocks:
        block = layers.at(path)
        use = block.get("use") if isinstance(block, dict) else None
        if isinstance(use, str):
            with suppress(UserError):  # an unknown name is told where the block is checked
                models.append((path, plugins.find(kind, use).options))
    # The options of components too, whose types only their plugins know.
    for path, model in models:
        values = layers.at(path)
        for keys in list(not_taken(values, model)) if isinstance(values, dict) else ():
            layers.drop((*path, *keys))


def _judge_kinds(layers: Layers) -> Iterator[tuple[tuple[str, ...], type[Any]]]:
    """Each judge's path with the model of what it is; a null where it says what it is says nothing."""
    kinds = {"panel": PanelSettings, "cascade": CascadeSettings, "use": JudgeSettings}
    judges = layers.values.get("judges")
    for judge, block in judges.items() if isinstance(judges, dict) else ():
        path = ("judges", judge)
        for key in CHOOSERS:
            if isinstance(block, dict) and key in block and block[key] is None:
                layers.drop((*path, key))
        yield path, next((kind for key, kind in kinds.items() if isinstance(block, dict) and key in block), Use)


def not_taken(values: Mapping[str, Any], model: type[BaseModel]) -> Iterator[Keys]:
    """Yield the paths of nulls that a model's fields do not take. Unknown keys are left to its validation."""
    for key, value in values.items():
        known = model.model_fields.get(key)
        if known is not None:
            yield from _at(value, known.annotation, (key,))


def _at(value: Any, annotation: Any, path: Keys) -> Iterator[Keys]:
    if value is None:
        if not accepts(annotation, types.NoneType):
            yield path
    elif isinstance(value, dict):
        inner = _mapping_in(annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((*path, *below) for below in not_taken(value, inner))
        elif inner is not None:
            for key, item in value.items():
                yield from _at(item, get_args(inner)[1], (*path, key))


def _mapping_in(annotation: Any) -> Any:
    """The model or the ``dict[…]`` in a type that takes mappings, None where there is none or not one alone."""
    if get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return annotation
    if get_origin(annotation) is Annotated:
        return _mapping_in(get_args(annotation)[0])
    found = [inner for inner in map(_mapping_in, get_args(annotation)) if inner is not None]
    # Of two kinds of mapping nobody can tell which this is; its validation will say.
    return found[0] if len(found) == 1 else None
