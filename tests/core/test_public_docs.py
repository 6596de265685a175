"""Every public name says what its fields and arguments are, with an example that runs; `help` begins with the names."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import pydoc
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import morlaif_core
from morlaif_core import Options, testing
from tests.helpers.documents import PAGES, blocks

NAMES = {
    f"{module.__name__.removeprefix('morlaif_core.')}.{name}": getattr(module, name)
    for module in (morlaif_core, testing)
    for name in module.__all__
}
CLASSES = {name: value for name, value in NAMES.items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in NAMES.items() if inspect.isfunction(value)}
ENTRY = re.compile(r"((?:\w+, )*\w+):(?=\s)")
"""``name: what it is``, or ``one, other: what they are``."""


def said(*documents: str | None) -> set[str]:
    """The names that docstrings explain."""
    entries = [found[1] for text in documents for found in ENTRY.finditer(text or "")]
    return {name.strip() for entry in entries for name in entry.split(",")} | set(
        re.findall(r"`(\w+)`", " ".join(filter(None, documents)))
    )


def arguments(function: Callable[..., Any]) -> set[str]:
    """The arguments of a function or method."""
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public methods and properties that a class has of its own."""
    for name, value in vars(kind).items():
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(plain) and name not in fields(kind) and (not name.startswith("_") or name == "__call__"):
            yield name, plain


def fields(kind: Any) -> set[str]:
    """What a class is made of."""
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    if issubclass(kind, tuple):
        return set(getattr(kind, "_fields", ()))
    if "__init__" in vars(kind) and not getattr(kind, "_is_protocol", False):
        return arguments(kind.__init__)
    return set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_explained(name: str) -> None:
    assert FUNCTIONS[name].__doc__
    assert not arguments(FUNCTIONS[name]) - said(FUNCTIONS[name].__doc__)


@pytest.mark.parametrize("name", CLASSES)
def test_fields_and_methods_are_explained(name: str) -> None:
    kind = CLASSES[name]
    if issubclass(kind, Options):
        assert all(field.description for field in kind.model_fields.values())
    elif not issubclass(kind, BaseException) or "__init__" in vars(kind):
        assert not fields(kind) - said(kind.__doc__)
    for method, function in methods(kind):
        assert function.__doc__, method
        assert not arguments(function) - said(function.__doc__, kind.__doc__), method


def test_functions_and_values_have_an_example() -> None:
    """In a docstring, or in a block of the documentation."""
    shown = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    shown += [example.source for value in NAMES.values() for test in examples(value) for example in test.examples]
    known = set(re.findall(r"\w+", "\n".join(shown)))
    values = [
        name for name, kind in CLASSES.items() if dataclasses.is_dataclass(kind) and "Made by `" not in kind.__doc__
    ]
    lacking = [name for name in (*FUNCTIONS, *values) if name.rpartition(".")[2] not in known]
    assert not [name for name in lacking if not examples(NAMES[name])]


def examples(value: Any) -> list[doctest.DocTest]:
    """The examples of a name's docstrings."""
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return []
    here = vars(sys.modules[value.__module__])
    return [test for test in doctest.DocTestFinder().find(value, value.__name__, globs=dict(here)) if test.examples]


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if examples(value)])
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples(NAMES[name]):
        out: list[str] = []
        runner.run(test, out=out.append)
        assert not out, "".join(out)


def test_help_begins_with_the_public_names() -> None:
    shown = pydoc.render_doc(morlaif_core, renderer=pydoc.plaintext)
    first = shown.split("PACKAGE CONTENTS")[0]
    assert first.index("run") < first.index("ScoreMatrix")
    assert not [name for name in morlaif_core.__all__ if not re.search(rf"\b{name}\b", first) and name != "__version__"]


@pytest.mark.parametrize("name", ["run", "load_run", "open_judges", "build", "PMJob", "PolicyJob", "ScoreMatrix"])
def test_help_shows_every_argument(name: str) -> None:
    shown = pydoc.render_doc(getattr(morlaif_core, name), renderer=pydoc.plaintext)
    value = getattr(morlaif_core, name)
    wanted = arguments(value) if inspect.isfunction(value) else fields(value)
    assert wanted
    assert not [each for each in wanted if not re.search(rf"(^| |, ){each}(, \w+)*: \S", shown, re.M)]
