"""How long the pipeline takes: the command line's start, and the whole demo with the base model made anew.

python benchmarks/pipeline.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tables import print_rows, write_rows

MORLAIF = Path(sys.executable).with_name("morlaif")
SMALL = ("prompts.pm=100", "trainer.steps=5", "preference_model.epochs=1")


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the demo cut small")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [start_up("--help"), start_up("plugins"), *demo(options.quick)]
    print_rows([{key: _text(value) for key, value in row.items()} for row in rows])
    write_rows(options.json, rows)


def start_up(argument: str, repeats: int = 9) -> dict[str, Any]:
    """Median seconds of a light command."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([str(MORLAIF), argument], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return row(f"morlaif {argument}", "median time", statistics.median(seconds), "s", 0.3)


def demo(quick: bool) -> list[dict[str, Any]]:
    """Wall time and peak memory of the demo, its base model included; then of the same command again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(MORLAIF), "run", "demo", "--out", f"{folder}/run"]
        command += [part for text in SMALL for part in ("--set", text)] if quick else []
        # An empty cache, so that the base model is made anew.
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            seconds.append(time.perf_counter() - start)
    # Linux counts in kilobytes; of children it is the largest one's.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    name = "morlaif run demo" + (" (cut small)" if quick else "")
    return [
        row(name, "time, base model included", seconds[0], "s", None if quick else 120),
        row(name, "peak memory", peak, "MB", 2000),
        row(name, "the same command again", seconds[1], "s", 5),
    ]


def row(name: str, metric: str, value: float, unit: str, target: float | None) -> dict[str, Any]:
    """A row as the JSON has it."""
    return {"name": name, "metric": metric, "value": round(value, 3), "unit": unit, "target": target}


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
