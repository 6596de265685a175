"""Distributions made of a dist-info folder and a module: what an installer leaves, without an installer."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.helpers.places import THIRD_PARTY

HEAD = "from morlaif_core import NoOptions, component, hookimpl\n"
ONE = "[component('{name}', lambda options: print, NoOptions, 'x')]"


def add_distribution(
    folder: Path, name: str, code: str, *, version: str = "1.0", entries: dict[str, str] | None = None
) -> None:
    """Write a distribution with one module; entries: plugin name -> module, by default the distribution's own name."""
    module = name.replace("-", "_") + "_module"
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{key} = {value}\n" for key, value in (entries or {name: module}).items())
    (info / "entry_points.txt").write_text(f"[morlaif]\n{lines}")


def hook(name: str, returned: str) -> str:
    """The text of a hook that returns an expression."""
    return f"@hookimpl\ndef {name}():\n    return {returned}\n"


def scalarizer(name: str) -> str:
    """The text of a module that offers one scalarizer."""
    return HEAD + hook("morlaif_scalarizers", ONE.format(name=name))


def install_third_party(folder: Path) -> None:
    """What an installer would make of tests/thirdparty."""
    project = tomllib.loads((THIRD_PARTY / "pyproject.toml").read_text())["project"]
    add_distribution(
        folder, project["name"], "", version=project["version"], entries=project["entry-points"]["morlaif"]
    )
    (folder / "morlaif_moderate.py").write_text((THIRD_PARTY / "morlaif_moderate.py").read_text())


def command(name: str, body: str = "click.echo('called')", *, build: str = "") -> str:
    """The text of a module that offers one command without arguments. build: an expression, in place of the command."""
    function = f"@click.command({name!r}, help='Do it.')\ndef called():\n    {body}\n\n"
    offer = f"[component({name!r}, lambda options: {build or 'called'}, NoOptions, 'do what {name} does')]"
    return "import click\n" + HEAD + function + hook("morlaif_commands", offer)
