"""What every offered component must be: `check_component`; what a command must be besides: `check_command`."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel

from morlaif_core.plugins.components import Component, NoOptions, Options, Setting
from morlaif_core.types import Need, Principle

NAME = re.compile(r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$")
KINDS = (
    "feedback_provider",
    "pm_backend",
    "scalarizer",
    "dataset",
    "model",
    "sampler",
    "policy_trainer",
    "command",
    "principle",
)


class ContractError(AssertionError):
    """A component does not keep the contract; the message says what was expected and what was seen."""


def require(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise `ContractError` with the message unless the condition holds; a message that takes time is a function."""
    if not condition:
        raise ContractError(message if isinstance(message, str) else message())


def check_component(kind: str, offered: Component[Any] | Principle) -> None:
    """Check what an offer says of itself; nothing is built.

    A name of the allowed form, options that are an `Options` model with a description and a JSON schema for every
    field, a summary of one line, needs, supplies and uses that exist. A principle needs a name and a question.

    Args:
        kind: one of `KINDS`.
        offered: what the plugin's hook returned.

    Raises:
        ContractError: what is wrong, with the component's name.

    >>> from morlaif_core import NoOptions, component
    >>> check_component("scalarizer", component("calm", lambda options: print, NoOptions, "a fewer-exclamations reward"))
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


def check_command(offered: Component[Any]) -> None:
    """Check an offered command: what it says of itself, then that it builds a `click.Command` whose help works.

    It takes no options of the configuration, has its component's name (``-`` and ``_`` are the same) and a help text,
    and each of its options says what it does; of a group, each command that it holds. The command itself is not called.

    Args:
        offered: what the plugin's hook `morlaif_commands` returned.

    Raises:
        ContractError: what is wrong, with the component's name.
    """
    import click

    check_component("command", offered)
    require(offered.options is NoOptions, f"{offered.name}: options are NoOptions, a command reads its own arguments")
    command = offered.build(NoOptions())
    require(
        isinstance(command, click.Command), f"{offered.name}: build returned a {type(command).__name__}, no command"
    )
    same = str(command.name).replace("-", "_") == offered.name.replace("-", "_")
    require(same, f"{offered.name}: the built command calls itself {command.name!r}")
    with click.Context(click.Group("morlaif"), info_name="morlaif") as parent:
        _check_help(command, offered.name, parent)


def _check_help(command: Any, name: str, parent: Any) -> None:
    """Ask for the help of a command, and of those that it holds if it is a group."""
    import click

    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            command.make_context(name, ["--help"], parent=parent)
        problem = "did nothing"
    except click.exceptions.Exit as left:
        problem = "" if left.exit_code == 0 else f"exited with {left.exit_code}"
    except Exception as error:
        problem = f"raised {type(error).__name__}: {error}"
    require(not problem, f"{name}: --help {problem}")
    require(bool((command.help or "").strip()), f"{name}: no help text says what the command does")
    require(name in shown.getvalue(), f"{name}: --help does not show how it is called: {shown.getvalue()!r}")
    for option in command.params:
        told = not isinstance(option, click.Option) or option.hidden or bool(option.help)
        require(told, f"{name}: option {'/'.join(option.opts)} has no help text")
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=parent)
        for inner in command.list_commands(context):
            _check_help(command.get_command(context, inner), inner, context)
