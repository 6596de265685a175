"""Write the tables of keys into these pages, from the models that validate a configuration: `python docs/options.py`.

A page marks a table's place by a line ``<!-- options: NAME -->`` and, below it, ``<!-- end -->``; what stands between
is replaced. NAME is one of `CORE`, or ``kind/name`` of a built-in component. `tests/whole/test_docs.py` fails where a page
is not up to date.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from morlaif_core.config.judge_settings import Budget, CascadeSettings, JudgeSettings, Judging, PanelSettings, Price
from morlaif_core.config.principles import ExampleText, PrincipleFile
from morlaif_core.config.settings import (
    EvaluationSettings,
    PairSettings,
    PreferenceModelSettings,
    PrincipleSettings,
    PromptSettings,
    Quantile,
    RewardSettings,
    Schedule,
    Settings,
    TrainerSettings,
    WinRate,
)
from morlaif_core.plugins.components import TUNING, Generation, Lora, Target
from morlaif_core.plugins.manager import BUILT_IN, Plugins

PAGES = Path(__file__).parent
CORE: dict[str, type[BaseModel]] = {
    "settings": Settings,
    "judges": JudgeSettings,
    "panel": PanelSettings,
    "cascade": CascadeSettings,
    "judging": Judging,
    "budget": Budget,
    "price": Price,
    "principles": PrincipleSettings,
    "threshold quantile": Quantile,
    "threshold win rate": WinRate,
    "prompts": PromptSettings,
    "pairs": PairSettings,
    "target": Target,
    "lora": Lora,
    "generation": Generation,
    "preference_model": PreferenceModelSettings,
    "reward": RewardSettings,
    "schedule": Schedule,
    "trainer": TrainerSettings,
    "evaluation": EvaluationSettings,
    "principle file": PrincipleFile,
    "principle example": ExampleText,
}
PLACE = re.compile(r"<!-- options: (?P<name>[^>]+?) -->\n(?P<table>.*?)<!-- end -->", re.S)
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def models() -> dict[str, type[BaseModel]]:
    """Every model that needs a table: the core's, and the options of built-in components that have any."""
    offers = [offer for kind in Plugins.load().offers_by_kind.values() for offer in kind]
    built_in = [offer for offer in offers if offer.distribution == BUILT_IN]
    options = {f"{offer.kind}/{offer.component.name}": offer.component.options for offer in built_in}
    return {**CORE, **{name: model for name, model in options.items() if model.model_fields}}


def table(model: type[BaseModel]) -> str:
    """A row for each key: its values, its default and what it means."""
    rows = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        cells = [f"`{name}`", _values(field), _default(field), _meaning(field)]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def filled(page: str, known: dict[str, type[BaseModel]]) -> str:
    """A page's text with all tables up to date. Raises KeyError for a table of nothing that is known."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- options: {found['name']} -->\n\n{table(known[found['name']])}\n<!-- end -->"

    return PLACE.sub(fill, page)


def _values(field: FieldInfo) -> str:
    return _bounded(_kind(field.annotation), field.metadata)


def _bounded(kind: str, rules: Sequence[Any]) -> str:
    """A type's words with the bounds that its rules set."""
    rules = [part for rule in rules for part in (rule.metadata if isinstance(rule, FieldInfo) else [rule])]
    found = [(sign, getattr(rule, name, None)) for rule in rules for name, sign in BOUNDS.items()]
    bounds = [
        f"{sign} {value if isinstance(value, int) else f'{value:g}'}" for sign, value in found if value is not None
    ]
    return re.sub(r"^(integer|number|text)\b", rf"\1 {', '.join(bounds)}", kind) if bounds else kind


def _kind(annotation: Any) -> str:
    """A type in a reader's words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_kind(arguments[0]), arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(argument) for argument in arguments))
    if origin is tuple:
        return "list of " + _kind(arguments[0])
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    if annotation is type(None):
        return "`null`"
    names = {str: "text", int: "integer", float: "number", date: "date", bool: "`true`, `false`"}
    return names.get(annotation, "a variable's name")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        given = value.model_dump(exclude_defaults=True) if field.default_factory is not None else {}
        return f"`{json.dumps(given)}`" if given else "see below"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _meaning(field: FieldInfo) -> str:
    tuning = isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(TUNING)
    # One that is not about speed says for itself that it repeats no stage.
    mark = tuning and "repeats no stage" not in str(field.description)
    return f"{field.description}{' *(speed only)*' if mark else ''}"


def main() -> None:
    """Bring every page up to date."""
    known = models()
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, known), encoding="utf-8")


if __name__ == "__main__":
    main()
