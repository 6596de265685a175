"""Read, check and layer principle files: a principle is what is asked of a judge."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from morlaif_core.errors import UserError, did_you_mean
from morlaif_core.plugins.components import Options
from morlaif_core.plugins.manager import Plugins, check_name
from morlaif_core.plugins.option_errors import explain
from morlaif_core.types import Example, Principle, content_hash

from .shipped_files import bundle
from .yaml_files import read_yaml


class ExampleText(Options):
    """A pair with the known winner: the response that is preferred, whatever the question asks for."""

    prompt: str = Field(min_length=1, description="what was asked")
    a: str = Field(min_length=1, description="one response")
    b: str = Field(min_length=1, description="the other response")
    winner: Literal["a", "b"] = Field(description="the preferred response")


class PrincipleFile(Options):
    """The keys of a principle's file."""

    question: str = Field(min_length=8, description="put to the judge: Which response …?")
    picks: Literal["better", "worse"] = Field("better", description="worse: the judge names the worse response")
    phrasings: tuple[str, ...] = Field((), description="other wordings of the question")
    examples: tuple[ExampleText, ...] = Field((), description="pairs with the known winner")


@dataclass(frozen=True)
class Known:
    """A principle, where it comes from, and what it shadows."""

    principle: Principle
    source: str
    shadows: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    """plugins that offer this name too: which is meant, nobody can tell"""


def read_principle(file: Traversable, name: str, label: str) -> Principle:
    """Read one file. Raises `UserError` naming file and key."""
    data = read_yaml(file, label)
    if not isinstance(data, dict):
        raise UserError(f"{label}: a principle is a mapping with at least the key 'question'")
    try:
        content = PrincipleFile.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, PrincipleFile, label)) from None
    examples = tuple(Example(item.prompt, item.a, item.b, item.winner) for item in content.examples)
    return Principle(name, content.question, content.picks, content.phrasings, examples)


def principles_from(package: str) -> tuple[Principle, ...]:
    """Read the YAML files in a package, for the hook `morlaif_principles`.

    package: its dotted name. Raises `UserError` for a file that is no principle.

    >>> principles_from("morlaif_core.config")  # a package without such files
    ()
    """
    folder = resources.files(package)
    return tuple(read_principle(file, name, label) for file, name, label in _files(folder, package))


def known_principles(plugins: Plugins, working_directory: Path | None = None) -> dict[str, Known]:
    """Layer all principles: shipped < plugins' < ``./principles/``. A higher layer shadows a principle whole."""
    known: dict[str, Known] = {}
    shipped = bundle("principles")
    _layer(known, [(read_principle(file, name, label), "shipped") for file, name, label in _files(shipped, "shipped")])
    # Strangers do not know of each other: a name that two offer is an error only where it is used.
    _layer(known, [(principle, f"plugin {plugin}") for plugin, principle in plugins.principles], rivals=True)
    local = (working_directory or Path.cwd()) / "principles"
    if local.is_dir() and not _same_folder(local, shipped):
        _layer(known, [(read_principle(file, name, label), label) for file, name, label in _files(local, "principles")])
    return known


def pick_principles(
    names: Iterable[str], known: dict[str, Known], unasked: Collection[str] = ()
) -> tuple[Principle, ...]:
    """Look up active principles. unasked: those that nobody is asked about, with the data set's own labels or with none,
    which need no question. Raises `UserError` with did-you-mean."""
    found = []
    for name in names:
        match = next((item for key, item in known.items() if _canonical(key) == _canonical(name)), None)
        if match is None and name in unasked and not _looks_misspelt(name, known):
            found.append(Principle(name, ""))
            continue
        if match is None:
            hint = did_you_mean(name, list(known))
            raise UserError(
                f"principles.{name}: there is no principle '{name}'.{hint} "
                f"Add principles/{name}.yaml, or see `morlaif principles`"
            )
        if match.rivals:
            offered = " and by ".join((match.source, *match.rivals))
            raise UserError(
                f"principles.{name}: '{name}' is offered by {offered}; "
                f"write the one you mean to principles/{name}.yaml, which overrides both"
            )
        found.append(match.principle)
    return tuple(found)


def _looks_misspelt(name: str, known: Iterable[str]) -> bool:
    """Say whether a name is all but one that is known: it would get the overall label, unseen."""
    return bool(difflib.get_close_matches(_canonical(name), [_canonical(other) for other in known], cutoff=0.85))


def principle_hash(principle: Principle) -> str:
    """A hash of all that a judge's verdict depends on."""
    # Not the examples: they count where a judge is shown some, see `RunJudges.identity`.
    return content_hash(principle.name, principle.question, principle.picks, principle.phrasings)


def _layer(known: dict[str, Known], items: list[tuple[Principle, str]], *, rivals: bool = False) -> None:
    """Put one layer above those below. A name twice in it: rivals are noted, else it raises `UserError`."""
    below = dict(known)
    here: dict[str, str] = {}
    for principle, source in items:
        key = _canonical(principle.name)
        if key in here and rivals:
            known[key] = replace(known[key], rivals=(*known[key].rivals, source))
            continue
        if key in here:
            raise UserError(f"principle '{principle.name}' is given twice: by {here[key]} and by {source}")
        here[key] = source
        shadowed = below.get(key)
        shadows = (shadowed.source, *shadowed.shadows) if shadowed else ()
        known[key] = Known(principle, source, shadows)


def _files(folder: Traversable, label: str) -> Iterator[tuple[Traversable, str, str]]:
    """The principle files of a folder with name and label, in the order of their names."""
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        stem, dot, ending = file.name.rpartition(".")
        # What begins with a dot was left by an editor or a file system, not written as a principle.
        if dot and ending in ("yaml", "yml") and not file.name.startswith("."):
            where = f"{label}/{file.name}"
            try:
                check_name(stem)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None
            yield file, stem, where


def _same_folder(local: Path, shipped: Traversable) -> bool:
    """Say whether both are one folder: in a checkout a file is read once."""
    return isinstance(shipped, Path) and local.resolve() == shipped.resolve()


def _canonical(name: str) -> str:
    return name.replace("-", "_")
