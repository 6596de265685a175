"""Small model makers for the tests of resolving; run as a script it resolves one in a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from morlaif_core import Options, Report, Target, Tuning, component
from morlaif_core.models.resolve import ResolvedModel, resolve_target
from morlaif_core.plugins.manager import Offer, Plugins

TEXTS = ("\n\nHuman: Hi\n\nAssistant: Hello",)


class LetterOptions(Options):
    """Of the maker below."""

    letters: int = Field(10_000, description="how many letters are written")
    slow: float = Tuning(0.0, description="seconds slept with half of them written")


class Letters:
    """Writes letters drawn with the seed in place of weights, one file at a time, as a slow maker would."""

    identity = "letters-1"
    made: list[int] = []  # noqa: RUF012 - counts over all instances

    def __init__(self, options: LetterOptions) -> None:
        self.options = options

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        """Write config.json and model.safetensors."""
        import numpy as np

        self.made.append(seed)
        drawn = np.random.default_rng(seed).integers(97, 123, self.options.letters, dtype=np.uint8).tobytes()
        (folder / "config.json").write_text(str(sum(map(len, texts))))
        with (folder / "model.safetensors").open("wb") as file:
            file.write(drawn[: len(drawn) // 2])
            file.flush()
            report(1, 2, {})
            time.sleep(self.options.slow)
            file.write(drawn[len(drawn) // 2 :])


class Converted(Letters):
    """Learns nothing."""

    learns = False
    identity = "converted-1"


def needs(options: LetterOptions) -> list[str]:
    """Say something that depends on the options."""
    return [] if options.letters else ["letters: write some"]


def fake_plugins() -> Plugins:
    """Return plugins that offer the makers above."""
    plugins = Plugins()
    for name, maker in (("letters", Letters), ("converted", Converted)):
        offer = component(name, maker, LetterOptions, "writes letters", missing=needs)
        plugins.offers_by_kind["model"].append(Offer("letters", "tests", "1", "model", offer))
    return plugins


def quiet(step: int, total: int, metrics: Any, *, generate: Any = None) -> Any:
    """Report to nobody."""
    return "go"


def resolve(
    model: str | dict[str, object], seed: int = 0, texts: Iterable[str] = TEXTS, **target: Any
) -> ResolvedModel:
    """Resolve with the makers above."""
    return resolve_target(Target(model=model, **target), fake_plugins(), lambda: texts, seed, quiet)


if __name__ == "__main__":
    found = resolve({"use": "letters", "slow": float(sys.argv[1])})
    sys.stdout.write(f"{len(Letters.made)} {found.target.model}\n")
