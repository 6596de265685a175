"""What a fingerprint counts: settings without what only changes speed, and stamps of the files they name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from morlaif_core.plugins.components import LATER, TUNING, Options, Secret
from morlaif_core.types import content_hash


def stable(value: Any) -> Any:
    """A value as JSON without fields declared with `Tuning`, those with `Later` at their default, and those that a dump
    leaves out (``exclude_if``)."""
    if isinstance(value, Secret):
        return None  # Another variable with the key changes no verdict.
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = {name: getattr(value, name) for name, field in fields.items() if counts(field, name, value)}
        extra = value.__pydantic_extra__ or {}
        return {name: stable(item) for name, item in {**kept, **extra}.items()}
    if isinstance(value, dict):
        return {str(key): stable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [stable(item) for item in value]
    return value


def counts(field: FieldInfo, name: str, options: BaseModel) -> bool:
    """Whether an option is one that a fingerprint counts."""
    marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    value = getattr(options, name)
    if marks.get(TUNING) or (field.exclude_if and field.exclude_if(value)):
        return False
    # A default may be made, also of the options before it.
    return not marks.get(LATER) or value != field.get_default(call_default_factory=True, validated_data=vars(options))


def file_stamp(options: Options) -> dict[str, str]:
    """The content hash of a local data file that the options name."""
    file = Path(str(getattr(options, "path", None) or ""))
    if not str(getattr(options, "path", None) or "") or not file.is_file():
        return {}
    # By content: a data file is often downloaded again, with a new time and the same bytes.
    with file.open("rb") as data:
        return {"content": hashlib.file_digest(data, "sha256").hexdigest()[:16]}


def folder_stamp(model: Any) -> str | None:
    """Names, sizes and times of a model folder's files: cheap, and another model in its place is seen."""
    if not isinstance(model, str) or not Path(model).is_dir():
        return None
    files = sorted(file for file in Path(model).iterdir() if file.is_file())
    return content_hash([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
