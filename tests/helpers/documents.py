"""What tests of the documentation share: code blocks with their file names, sections, command lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.places import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.S | re.M)
_FILE = re.compile(r"# (?P<file>[\w./-]+\.\w+)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block. file: the name in its first comment line, empty where there is none."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that the block shows."""
        found = _FILE.match(self.text)
        return found["file"] if found and self.language not in ("sh", "text") else ""

    def write(self, folder: Path) -> Path:
        """Write the block as the file that it shows."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")
        return path


def blocks(page: Path, section: str = "") -> list[Block]:
    """The fenced blocks of a page, or of the section with that heading."""
    text = page.read_text(encoding="utf-8")
    if section:
        text = text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [Block(page.name, found["language"], found["text"]) for found in _BLOCK.finditer(text)]


def command_lines(page: Path) -> list[list[str]]:
    """The arguments of every line in a block that starts with ``morlaif``."""
    lines = [line for block in blocks(page) if block.language in ("sh", "text") for line in block.text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("morlaif ")]


def mentioned_commands(page: Path) -> list[list[str]]:
    """The arguments of every ``morlaif …`` in running text."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    # What begins with a dash is an option of the program itself, as in `morlaif --help`.
    return [shlex.split(line)[1:] for line in re.findall(r"`(morlaif [^-`][^`]*)`", text)]
