"""A validation's errors as a user reads them: the key, what is wrong, and the nearest known key."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from morlaif_core.errors import did_you_mean

from .components import SECRET_PATTERN

_SCALARS = {"float", "int", "str", "bool"}


def explain(error: ValidationError, model: type[Any], where: str) -> str:
    """Turn pydantic's errors into lines that name the key and what to do."""
    # A union tells the same mistake once for each of its branches.
    return "\n".join(dict.fromkeys(line for _, line in explain_each(error, model, where)))


def explain_each(error: ValidationError, model: type[Any], where: str) -> list[tuple[tuple[Any, ...], str]]:
    """The lines of `explain`, each with the path of its key."""
    lines = []
    for item in error.errors():
        keys = tuple(part for part in item["loc"] if not _is_branch(part))
        path = ".".join([where, *(str(part) for part in keys)]).strip(".")
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, item["loc"][:-1])
            hint = did_you_mean(str(keys[-1]), known) or f" Known keys: {', '.join(known) or 'none'}."
            lines.append((keys, f"{path}: unknown key.{hint}"))
        elif item["type"] == "missing":
            lines.append((keys, f"{path}: must be given"))
        elif item.get("ctx", {}).get("pattern") == SECRET_PATTERN:
            # What stands there may be the key itself: it is not repeated.
            lines.append((keys, f"{path}: give the NAME of an environment variable, such as MY_API_KEY, not the key"))
        else:
            lines.append((keys, f"{path}: {item['msg'].removeprefix('Value error, ')} (got {_short(item['input'])})"))
    return lines


def _short(value: Any) -> str:
    """A value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _is_branch(part: Any) -> bool:
    """Pydantic names the branch of a union in the path; a user never wrote it."""
    if not isinstance(part, str):
        return False
    return not part or part[0].isupper() or "[" in part or part.removeprefix("constrained-") in _SCALARS


def _fields_at(model: Any, path: tuple[Any, ...]) -> list[str]:
    """The field names of the model that a path leads to; where a union is passed, its branch is named in the path."""
    models = [model]
    for part in path:
        named = [item for item in models if item.__name__ == part]
        fields = models[0].model_fields
        models = named or (_models_in(fields[part].annotation) if part in fields else []) or models
    return list(models[0].model_fields)


def _models_in(annotation: Any) -> list[Any]:
    """The options models inside ``Model``, ``Model | None``, ``Annotated[Model, …]`` or ``dict[str, Model]``."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
