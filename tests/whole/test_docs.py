"""The documentation says what is so: hooks, commands, names, keys with their defaults, examples that work."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

import morlaif_core
from morlaif_core import testing
from morlaif_core.cli.main import cli
from morlaif_core.config.load import load_config
from morlaif_core.config.principles import read_principle
from morlaif_core.config.shipped_files import shipped_examples
from morlaif_core.plugins.manager import KINDS, PRINCIPLES_HOOK
from tests.helpers.documents import PAGES, ROOT, Block, blocks, command_lines, mentioned_commands

DOCS = ROOT / "docs"
ALL = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
YAML = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


def mentioned(name: str, *pages: str) -> bool:
    """Say whether a name stands in code in one of the pages; none: in any."""
    texts = [text for page, text in ALL.items() if not pages or page in pages]
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) for text in texts)


def parse(arguments: list[str]) -> click.Context:
    """Read the arguments of a command, the core's or a plugin's, without calling it."""
    context = click.Context(cli, info_name="morlaif")
    name, command, rest = cli.resolve_command(context, list(arguments))
    assert command is not None
    return command.make_context(name, rest, parent=context)


def options_script() -> ModuleType:
    """docs/options.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_options", DOCS / "options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hooks_are_documented() -> None:
    missing = [hook for hook in (*KINDS.values(), PRINCIPLES_HOOK) if not mentioned(hook, "plugins.md")]
    assert not missing


def test_commands_are_documented() -> None:
    names = cli.list_commands(click.Context(cli))
    assert {"run", "preview", "fit-weights"} <= set(names)
    missing = [name for name in names if not mentioned(f"morlaif {name}", "index.md")]
    assert not missing


def test_public_names_are_documented() -> None:
    assert not [name for name in morlaif_core.__all__ if not mentioned(name, "python-api.md")]
    assert not [name for name in testing.__all__ if not mentioned(name, "plugins.md")]


def test_tables_are_those_of_the_models() -> None:
    script = options_script()
    known = script.models()
    stale = [page.name for page in DOCS.glob("*.md") if script.filled(ALL[page.name], known) != ALL[page.name]]
    assert not stale, "run python docs/options.py"
    placed = {found["name"] for text in ALL.values() for found in script.PLACE.finditer(text)}
    assert placed == set(known)


def test_all_pages_are_in_the_navigation() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {page for entry in navigation for page in entry.values()}
    assert listed == {page.name for page in DOCS.glob("*.md")}


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", ALL["README.md"])
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_parse(page: Path) -> None:
    for arguments in command_lines(page):
        parse(arguments)
    for arguments in mentioned_commands(page):
        try:
            parse(arguments)
        except click.MissingParameter:
            pass  # running text names a command without all it needs


def test_configurations_named_in_command_lines_load(tmp_path: Path) -> None:
    seen = 0
    for page in PAGES:
        for arguments in command_lines(page):
            if arguments[0] not in ("run", "check"):
                continue
            context = parse(arguments)
            configs, sets = context.params["configs"], context.params["sets"]
            files = [name for name in configs if name.endswith(".yaml")]
            assert set(configs) - set(files) <= set(shipped_examples()), arguments
            if not files and not any("soft_min" in text or "questions" in text for text in sets):
                load_config(configs, sets, folder=tmp_path)
                seen += 1
    assert seen >= 8


def test_shipped_configurations_are_listed() -> None:
    for page in ("README.md", "configuration.md"):
        assert not [name for name in shipped_examples() if not mentioned(name, page)]


@pytest.mark.parametrize("block", YAML, ids=lambda block: f"{block.page}:{block.file or 'fragment'}")
def test_yaml_blocks_are_valid(block: Block, tmp_path: Path) -> None:
    if block.file.startswith("principles/"):
        file = block.write(tmp_path)
        assert read_principle(file, file.stem, file.name).examples
        return
    for principle in YAML:
        if principle.file.startswith("principles/"):
            principle.write(tmp_path)
    file = tmp_path / "layer.yaml"
    file.write_text(block.text, encoding="utf-8")
    load_config(["demo", "layer.yaml"], folder=tmp_path)


def test_python_blocks_compile() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language == "python"]
    assert len(found) >= 8
    for block in found:
        assert block.file, f"{block.page}: a Python block says in its first line which file it shows"
        compile(block.text, block.file, "exec")


def test_plugin_examples_keep_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    shown = [block for block in blocks(DOCS / "plugins.md") if block.language == "python"]
    names = [block.write(tmp_path).relative_to(tmp_path) for block in shown]
    ran = 0
    for name in names:
        module = importlib.import_module(name.parent.name if name.name == "__init__.py" else name.stem)
        if hasattr(module, "test_contract"):
            module.test_contract()
            ran += 1
        monkeypatch.delitem(sys.modules, module.__name__)
    assert ran == 5
