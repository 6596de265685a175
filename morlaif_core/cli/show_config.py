"""What `check` shows: what the run uses, with the origin of each value, then notes, data and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from morlaif_core.config.prices import billed_model
from morlaif_core.config.resolved import resolved_values
from morlaif_core.runs.tables import print_json, print_table

if TYPE_CHECKING:
    from morlaif_core.config.config import Config
    from morlaif_core.stages.look_at_data import DataLook


class Value(NamedTuple):
    """A value of a configuration. origin: the layer that gave it. used: whether the run reads it."""

    key: str
    value: Any
    origin: str
    used: bool


def config_values(config: Config) -> list[Value]:
    """Return every value, the components' defaults too; first those that the run uses."""
    settings = config.settings
    singles = settings.asked_singles
    judges: set[str | None] = {*singles, *_asked(config)}
    named = {"judges": judges, "prices": {billed_model(config, judge) for judge in singles}}
    rows = []
    for path, value in _leaves(resolved_values(config), ()):
        used = len(path) < 2 or path[0] not in named or path[1] in named[path[0]]
        rows.append(Value(".".join(path), value, config.layers.origin(path), used))
    return sorted(rows, key=lambda row: not row.used)


def _asked(config: Config) -> Iterator[str]:
    """Yield the judges that the run asks, and all that they are made of."""
    waiting = list(config.settings.asked)
    while waiting:
        judge = waiting.pop()
        yield judge
        waiting += config.settings.members_of(judge)


def show_config(
    config: Config,
    notes: Sequence[str],
    needed: Sequence[str],
    data: DataLook | None = None,
    *,
    everything: bool = False,
    as_json: bool = False,
) -> None:
    """Print the values that the run uses (everything: the others too), notes, prompt sets and what a run still needs."""
    values = config_values(config)
    if as_json:
        _print_as_json(values, notes, needed, data)
        return
    shown = [row for row in values if everything or row.used]
    print_table(["key", "value", "from"], [[row.key, _short(row.value), row.origin] for row in shown])
    if len(shown) < len(values):
        click.echo(f"{len(values) - len(shown)} keys of judges and prices that this run does not use: see --all")
    for note in notes:
        click.echo(f"note: {note}")
    if data is not None:
        _show_data(config, data)
    if needed:
        click.echo("\nneeded before run:")
        for line in needed:
            click.echo(f"  {line}")
    elif data is None or not data.problem:
        click.echo("\nready to run")


def _print_as_json(values: Sequence[Value], notes: Sequence[str], needed: Sequence[str], data: DataLook | None) -> None:
    rows = [{"key": row.key, "value": row.value, "from": row.origin, "used": row.used} for row in values]
    read = data and {
        "prompt_sets": data.sets,
        "left_out": data.left_out,
        "whole": data.whole,
        "problem": data.problem,
    }
    ready = not needed and not (data and data.problem)
    print_json({"values": rows, "notes": list(notes), "needed": list(needed), "data": read, "ready": ready})


def _show_data(config: Config, data: DataLook) -> None:
    """The prompt sets, wanted and given, and what was left out."""
    from morlaif_core.runs.prompt_sets import set_sizes

    wanted: dict[str, int | str] = {**set_sizes(config.settings.prompts)}
    if config.settings.prompts.rl is None:
        wanted["rl"] = "the rest"
    wanted |= {name: "auto" for name in wanted if getattr(config.settings.prompts, name) == "auto"}
    if wanted["pm"] == "auto":  # of which it is a share
        wanted["validation"] = "auto"
    if data.sets:
        rows = [[name, _count(wanted[name]), _count(given)] for name, given in data.sets.items()]
        if not data.whole:
            rows = [[name, want, f"{got} or more" if want == "the rest" else got] for name, want, got in rows]
        print_table(["prompt set", "wanted", "given"], rows, "\nprompts, before those that are too long are left out:")
    if data.left_out:
        click.echo("left out: " + ", ".join(f"{count:,} {why}" for why, count in data.left_out.items()))
    if not data.whole:
        click.echo("note: a large data set, of which only the beginning was read here")


def _count(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _leaves(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, str(key)))]
    return [(path, value)]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
