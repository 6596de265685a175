"""Null in a configuration: a value where the key's type has it; elsewhere the key is as if nobody had said it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from .options import accepts

Keys = tuple[str, ...]


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
    return found[0] if len(found) == 1 else None
