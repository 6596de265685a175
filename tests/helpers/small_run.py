"""The demo's pipeline cut small enough for a test: a few seconds, every stage real."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

PRINCIPLES = ("helpfulness", "conciseness", "detail")
"""Few ties also between the answers of a model that hardly learnt anything."""
SETS = (
    f"principles=[{', '.join(PRINCIPLES)}]",
    "target.model={use: demo-base, steps: 10, width: 32, layers: 2}",
    "dataset.prompts=160",
    "prompts={pm: 24, validation: 0.25, calibration: 10, rl: 16, evaluation: 8}",
    "generation.max_new_tokens=16",
    "preference_model.epochs=1",
    "preference_model.batch=8",
    "preference_model.minibatch=8",
    "trainer.steps=2",
    "trainer.prompts_per_step=8",
    "trainer.minibatch=8",
)


def options(*more: str) -> list[str]:
    """The settings as command-line arguments."""
    return [part for text in (*SETS, *more) for part in ("--set", text)]


def small(out: Path, *more: str, **keywords: Any) -> Any:
    """Run it through the API."""
    from morlaif_core import run

    return run("demo", out=out, sets=(*SETS, *more), quiet=True, **keywords)


def small_in(folder: Path, out: Path, *sets: str, until: str | None = None, **environment: str) -> Any:
    """Run it as a user in that working directory would, with these variables set, but in this process."""
    from morlaif_core import run

    with chdir(folder), patch.dict(os.environ, environment):
        return run("demo", out=out, sets=(*SETS, *sets), quiet=True, until=until)


def final_files(run: Path) -> dict[str, str]:
    """Hashes of what must not depend on interruptions: pairs, preferences, the final weights of PMs and policy."""
    files = [run / "pairs.jsonl", run / "preferences.jsonl", run / "evaluation.jsonl"]
    files += sorted((run / "preference_models").glob("*/*.safetensors"))
    files += sorted((run / "policy").glob("*.safetensors"))
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def ledger_rows(run: Path) -> dict[str, int]:
    """How many rows each principle has in the ledger."""
    with sqlite3.connect(run / "judgements.sqlite") as ledger:
        return dict(ledger.execute("SELECT principle, count(*) FROM rows GROUP BY principle").fetchall())
