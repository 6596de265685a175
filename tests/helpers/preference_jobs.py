"""Preferences that one word decides, jobs on tiny bases to learn them, and what was learnt."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from morlaif_core import (
    Message,
    PMJob,
    Preference,
    Principle,
    Prompt,
    Target,
    make_prompt,
)
from morlaif_core.models.backbones import LocalBackbones
from morlaif_pm import build_full, build_heads, build_lora, build_probe
from morlaif_pm.options import FullOptions, HeadsOptions, LoraOptions, ProbeOptions
from tests.helpers.tiny_models import save_tiny

WORDS = "bread flour water rise bake good kind rude".split()
QUICK: dict[str, Any] = {"epochs": 2, "batch": 8, "max_length": 64}
BACKENDS: dict[str, Any] = {
    "full": build_full(FullOptions(learning_rate=2e-3, **QUICK)),
    "lora": build_lora(LoraOptions(learning_rate=6e-3, **QUICK | {"batch": 16, "epochs": 5})),
    "heads": build_heads(HeadsOptions(learning_rate=3e-3, **QUICK | {"epochs": 8})),
    "probe": build_probe(ProbeOptions(max_length=64)),
}


def preferences(n: int, word: str = "kind", seed: int = 0) -> list[Preference]:
    """Pairs whose better response is the one that holds a word, labelled .9 or .1."""
    draw, rest = random.Random(seed), [other for other in WORDS if other != word]
    rows = []
    for index in range(n):
        prompt = make_prompt(
            [Message("user", f"{index % (n // 2)} " + " ".join(draw.choices(WORDS, k=draw.randint(1, 6))))]
        )
        both = [draw.choices(rest, k=draw.randint(2, 6)) for _ in "ab"]
        winner = draw.randrange(2)
        both[winner].insert(draw.randint(0, len(both[winner])), word)
        rows.append(Preference(prompt, " ".join(both[0]), " ".join(both[1]), (0.9, 0.1)[winner]))
    return rows


def job_in(
    folder: Path, family: str = "gpt2", names: Sequence[str] = ("kind",), n: int = 160, report: Any = None
) -> PMJob:
    """A job on a tiny base saved beside its output."""
    base = folder / "base"
    if not base.is_dir():
        save_tiny(base, family)
    return PMJob(
        principles=tuple(Principle(name, "Which?") for name in names),
        train={name: preferences(n, name, seed) for seed, name in enumerate(names)},
        held_out={},
        base=Target(model=str(base)),
        out=folder / "out",
        seed=3,
        report=report or (lambda step, total, metrics, generate=None: "go"),
        backbones=LocalBackbones("cpu", 1),
    )


def flat(pairs: Sequence[Preference]) -> tuple[list[Prompt], list[str]]:
    return [pair.prompt for pair in pairs for _ in "ab"], [text for pair in pairs for text in (pair.a, pair.b)]


def accuracy(model: Any, pairs: Sequence[Preference], column: int) -> float:
    scores = model.score(*flat(pairs)).values[:, column].reshape(-1, 2)
    return float(np.mean((scores[:, 0] > scores[:, 1]) == np.array([pair.p_a > 0.5 for pair in pairs])))


def load(name: str, job: PMJob, principles: tuple[str, ...]) -> Any:
    return BACKENDS[name].load(job.out, principles, job.base, job.backbones)


def weights(folder: Path) -> bytes:
    (file,) = folder.glob("*.safetensors")
    return file.read_bytes()


class KilledError(Exception):
    """Stands for what ends a run between two steps."""


def killed_run(folder: Path, name: str) -> None:
    """What the child process does: train slowly, so that it can be killed."""

    def report(step: int, total: int, metrics: Mapping[str, float], *, generate: Any = None) -> Literal["go"]:
        print(step, flush=True)
        time.sleep(0.05)
        return "go"

    many_checkpoints(name).train(job_in(folder, n=80, report=report))


def many_checkpoints(name: str) -> Any:
    if name == "probe":
        return build_probe(ProbeOptions())
    build, options = {
        "full": (build_full, FullOptions),
        "lora": (build_lora, LoraOptions),
        "heads": (build_heads, HeadsOptions),
    }[name]
    return build(options(learning_rate=2e-3, checkpoint_every=1, **QUICK))  # type: ignore[operator]
