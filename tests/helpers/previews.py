"""What the tests of `morlaif preview` share: how it is called, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from morlaif_core import CutOff
from morlaif_core.cli.main import cli, guarded

SMALL = ("--prompts", "40", "--responses", "3")
CALL = """
import sys
import morlaif_analysis.preview.pictures
if sys.argv.pop(1) == "without pictures":
    morlaif_analysis.preview.pictures.draw = lambda result, folder: []
from morlaif_core.cli.main import cli, guarded
code = guarded(lambda: cli(["preview", *sys.argv[1:]], standalone_mode=False))
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def called(*arguments: str | Path) -> int:
    """The exit code of ``morlaif preview …`` in this process."""
    return guarded(lambda: cli(["preview", *map(str, arguments)], standalone_mode=False))


def set_settings(run: Path, **changed: Any) -> None:
    """Change keys of the run's kept configuration, as `morlaif run` does where only later stages read them."""
    settings = yaml.safe_load((run / "run.yaml").read_text())
    for path, value in changed.items():
        *parts, last = path.split("__")
        block = settings
        for part in parts:
            block = block[part]
        block[last] = value
    (run / "run.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def started(*arguments: str | Path, pictures: bool = False) -> subprocess.Popen[str]:
    """The same in a process of its own, whose last line on stderr says whether torch was imported.

    pictures: draw them, which takes nearly all of the command's time.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CALL, f"with{'' if pictures else 'out'} pictures", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "preview" / "preview.json").read_text())
    return result


def texts_of(run: Path) -> dict[str, list[str]]:
    """All stored responses by prompt, in the order of their rounds."""
    lines = [json.loads(line) for line in (run / "preview" / "responses.jsonl").read_text().splitlines()[1:]]
    cells = [line for line in lines if "rows" in line]
    found: dict[str, list[str]] = {}
    for cell in sorted(cells, key=lambda cell: cell["round"]):
        for row in cell["rows"]:
            texts = zip(row["responses"], row["ended"], strict=True)
            found.setdefault(row["prompt"], []).extend(text if ended else CutOff(text) for text, ended in texts)
    return found


def scores_of(run: Path) -> dict[str, Any]:
    with np.load(run / "preview" / "scores.npz") as stored:
        return {name: stored[name] for name in stored.files}
