"""What every offered component must be: `check_component`."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel

from morlaif_core.options import Component, Options, Setting
from morlaif_core.types import Need, Principle

NAME = re.compile(r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$")
KINDS = ("feedback_provider", "pm_backend", "scalarizer", "dataset", "model", "sampler", "policy_trainer", "principle")


class ContractError(AssertionError):
    """A component does not keep the contract; the message says what was expected and what was seen."""


def require(condition: bool, message: str) -> None:
    """Raise `ContractError` with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def check_component(kind: str, offered: Component[Any] | Principle) -> None:
    """Check what an offer says of itself; nothing is built.

    A name of the allowed form, options that are an `Options` model with a description and a JSON schema for every
    field, a summary of one line, needs, supplies and uses that exist. A principle needs a name and a question.

    Args:
        kind: one of `KINDS`.
        offered: what the plugin's hook returned.

    Raises:
        ContractError: what is wrong, with the component's name.
    """
    require(kind in KINDS, f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}")
    require(isinstance(offered, Principle if kind == "principle" else Component), f"{offered!r} is no {kind}")
    require(len(offered.name) <= 64 and bool(NAME.match(offered.name)), f"{offered.name!r} is no name")
    if isinstance(offered, Principle):
        require(bool(offered.question.strip()), f"principle {offered.name}: the question is empty")
        return
    _check_summary(offered)
    _check_options(f"{kind} {offered.name}", offered.options)
    require(callable(offered.build), f"{offered.name}: build is not callable")
    require(offered.needs | offered.supplies <= set(get_args(Need)), f"{offered.name}: needs or supplies are unknown")
    require(offered.uses <= set(get_args(Setting)), f"{offered.name}: uses {sorted(offered.uses)}")
    require(
        kind == "scalarizer" or not (offered.uses or offered.monotone), f"{offered.name}: only scalarizers use terms"
    )


def _check_summary(offered: Component[Any]) -> None:
    summary = offered.summary
    require(bool(summary.strip()) and "\n" not in summary, f"{offered.name}: the summary is one line, not {summary!r}")


def _check_options(owner: str, options: type[BaseModel]) -> None:
    require(isinstance(options, type) and issubclass(options, Options), f"{owner}: options are no subclass of Options")
    require(options.model_config.get("extra") == "forbid", f"{owner}: unknown options must be refused")
    for name, field in options.model_fields.items():
        require(bool(field.description), f"{owner}: option {name} has no description")
    options.model_json_schema()
