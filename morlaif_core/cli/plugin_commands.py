"""The list of commands: the core's own, and those that plugins offer, each built only when it is called."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from morlaif_core.errors import RunFailed, UserError, did_you_mean

if TYPE_CHECKING:
    from morlaif_core.plugins.manager import Offer, Plugins

_PLUGINS = "morlaif_core.cli.plugin_commands.plugins"
"""Where a context keeps the plugins, so that one call of the program asks them once."""


class Commands(click.Group):
    """A group that asks plugins for a command where the core has none of that name; ``-`` and ``_`` are the same."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted({*self.commands, *_names(_plugins(ctx))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None. Raises `UserError` where several plugins offer that name."""
        # Own commands first: for them no plugin has to be asked here.
        own = self.commands.get(cmd_name) or self.commands.get(cmd_name.replace("_", "-"))
        if own is not None:
            return own
        plugins = _plugins(ctx)
        return Offered(plugins.find_offer("command", cmd_name)) if plugins.offers("command", cmd_name) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What click does, with advice over all commands where there is none of that name."""
        name = args[0]
        if not (name.startswith("-") or ctx.resilient_parsing) and self.get_command(ctx, name) is None:
            advice = did_you_mean(name, self.list_commands(ctx)) or " See them with 'morlaif --help'."
            asides = "".join(f"\n  {aside}" for aside in _plugins(ctx).set_aside)
            ctx.fail(f"there is no command '{name}'.{advice}{asides}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, and warn of plugins whose commands may be missing there."""
        super().format_commands(ctx, formatter)
        for aside in _plugins(ctx).set_aside:
            warnings.warn(str(aside), stacklevel=2)

    def invoke(self, ctx: click.Context) -> None:
        """Call the command; what a plugin's command returns is no exit code."""
        super().invoke(ctx)


class Offered(click.Command):
    """A command that a plugin offers: name and summary, until it is called."""

    def __init__(self, offer: Offer) -> None:
        summary = offer.component.summary.strip()
        super().__init__(offer.component.name, help=summary[0].upper() + summary[1:].rstrip(".") + ".")
        self._offer = offer

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Build the plugin's command and let it read the arguments; it is the context's command from then on."""
        return build_command(self._offer).make_context(info_name, args, parent, **extra)


def build_command(offer: Offer) -> click.Command:
    """Build an offered command.

    Raises:
        UserError: what the plugin says is missing.
        RunFailed: it cannot be built, or is no command; names plugin and command.
    """
    what = f"command '{offer.component.name}' of plugin '{offer.plugin}' ({offer.distribution} {offer.version})"
    try:
        command = offer.component.build(offer.component.options())
    # It has advice of its own already.
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's build may raise anything
        if os.environ.get("MORLAIF_STRICT") == "1":
            raise
        raise RunFailed(f"the {what} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(command, click.Command):
        raise RunFailed(f"the {what} cannot be built: it is a {type(command).__name__}, not a click.Command")
    return command


def _plugins(ctx: click.Context) -> Plugins:
    """What plugins offer; who asks says what is set aside, and the called command warns once more where it asks."""
    from morlaif_core.plugins.manager import Plugins

    if _PLUGINS not in ctx.meta:
        with warnings.catch_warnings():
            # Else each plugin that is set aside is told twice, here and where it matters.
            warnings.simplefilter("ignore")
            ctx.meta[_PLUGINS] = Plugins.load()
    found: Plugins = ctx.meta[_PLUGINS]
    return found


def _names(plugins: Plugins) -> list[str]:
    """What offered commands are called: their names; ``plugin/name`` where several plugins offer one."""
    offers = plugins.offers_by_kind["command"]
    times = Counter(offer.component.name.replace("-", "_") for offer in offers)
    return [
        offer.component.name
        if times[offer.component.name.replace("-", "_")] == 1
        else f"{offer.plugin}/{offer.component.name}"
        for offer in offers
    ]
