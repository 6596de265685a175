"""Every command that the built-in plugins offer keeps its contract; `check_command` finds what is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import pytest

from morlaif_core import Component, NoOptions, Options, component
from morlaif_core.plugins.manager import Plugins
from morlaif_core.testing import ContractError, check_command
from tests.helpers.distributions import install_third_party
from tests.helpers.places import PLUGINS


def ours() -> list[Component[click.Command]]:
    """The commands of the plugins in the tree, installed or not."""
    modules = [importlib.import_module(item.parent.name) for item in sorted(PLUGINS.glob("*/__init__.py"))]
    return [offered for module in modules for offered in getattr(module, "morlaif_commands", list)()]


def test_there_are_commands() -> None:
    assert {offered.name for offered in ours()} >= {"fit-weights", "preview"}


@pytest.mark.parametrize("offered", ours(), ids=lambda offered: offered.name)
def test_our_commands_keep_the_contract(offered: Component[click.Command]) -> None:
    check_command(offered)


def test_a_strangers_command_keeps_the_contract(site: Path) -> None:
    install_third_party(site)
    check_command(Plugins.load().find("command", "lengths"))


class Choice(Options):
    """Options that no configuration could set."""


def made(**settings: Any) -> click.Command:
    """A command as one would write it, but for what is given."""
    return click.Command(**{"name": "good", "help": "Do good.", "callback": lambda **_: None, **settings})


def group_with(inner: click.Command) -> click.Group:
    return click.Group("good", help="Both.", commands={"inner": inner})


class Unhelpful(click.Command):
    """Fails where its help is asked for."""

    def get_help(self, ctx: click.Context) -> str:
        raise RuntimeError("no help")


MISTAKES = {
    "no command": (lambda: "good", "no command"),
    "another name": (lambda: made(name="bad"), "calls itself 'bad'"),
    "no help": (lambda: made(help=None), "no help text"),
    "mute option": (lambda: made(params=[click.Option(["--size"])]), "option --size has no help text"),
    "help removed": (lambda: made(add_help_option=False), "--help raised"),
    "help raises": (lambda: Unhelpful("good", help="x"), "--help raised RuntimeError: no help"),
    "mute inner": (lambda: group_with(made(name="inner", help="")), "inner: no help text"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_check_command_finds(name: str) -> None:
    make, said = MISTAKES[name]
    with pytest.raises(ContractError, match=said):
        check_command(component("good", lambda options: make(), NoOptions, "do good"))


def test_check_command_finds_options_and_accepts_what_is_good() -> None:
    with pytest.raises(ContractError, match="options are NoOptions"):
        check_command(component("good", lambda options: made(), Choice, "do good"))
    with pytest.raises(ContractError, match="one line"):
        check_command(component("good", lambda options: made(), NoOptions, "do\ngood"))
    size = click.Option(["--size"], help="How large.")
    check_command(component("good", lambda options: made(params=[size]), NoOptions, "do good"))
    check_command(component("good", lambda options: group_with(made(name="inner")), NoOptions, "do good"))
