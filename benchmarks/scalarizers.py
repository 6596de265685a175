"""How many responses a second each scalarizer takes in a batch, against a loop over rows; ratios of medians."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tables import write_rows

import morlaif_core
from morlaif_core import Scalarizer, Terms
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers

TARGET = 10.0
"""A batch is to be at least this many times as fast as a loop over rows, at 1,024 rows."""


def loop_weighted(rows: list[list[float]], terms: Terms) -> list[float]:
    """What one writes without numpy."""
    weight = terms.weight.tolist()
    return [sum(w * r for w, r in zip(weight, row, strict=True)) for row in rows]


def loop_max_min(rows: list[list[float]], terms: Terms) -> list[float]:
    """What one writes without numpy."""
    threshold = terms.threshold.tolist()
    return [min(r - t for r, t in zip(row, threshold, strict=True)) for row in rows]


def loop_lexicographic(rows: list[list[float]], terms: Terms) -> list[float]:
    """What one writes without numpy; priorities 1 .. k in order."""
    from math import tanh

    threshold, lower, rewards = terms.threshold.tolist(), terms.lower.tolist(), []
    for row in rows:
        u, reached = 0.0, 1.0
        for place, (r, tau, low) in enumerate(zip(row, threshold, lower, strict=True)):
            u += reached * ((r if place == len(row) - 1 else min(r, tau)) - low)
            reached *= 0.5 * (1 + tanh((r - tau) / 0.2))
        rewards.append(u)
    return rewards


LOOPS = {"weighted": loop_weighted, "max_min": loop_max_min, "lexicographic": loop_lexicographic}


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(name: str, scalarizer: Scalarizer, n: int, k: int, repeats: int) -> list[dict[str, Any]]:
    """Time the batch, the loop in plain Python over the same numbers, and the scalarizer called row by row."""
    values = np.random.default_rng(0).uniform(-3, 3, (n, k)).astype(np.float32)
    scores, terms, rows = make_scores(values), make_terms(k=k), values.tolist()
    single = [make_scores(values[row : row + 1]) for row in range(n)]
    np.testing.assert_allclose(scalarizer(scores, terms), np.array(LOOPS[name](rows, terms)), rtol=1e-4, atol=1e-5)
    batch = seconds(lambda: scalarizer(scores, terms), repeats)
    plain = seconds(lambda: LOOPS[name](rows, terms), max(3, repeats // 10))
    calls = seconds(lambda: [scalarizer(row, terms) for row in single], max(3, repeats // 20))
    return [
        row(f"{name} n={n} k={k} against {other}", n / batch, slow / batch, target if n == 1024 else None)
        for other, slow, target in (("a python loop", plain, TARGET), ("a call for each row", calls, TARGET))
    ]


def row(name: str, value: float, ratio: float, target: float | None) -> dict[str, Any]:
    """One row of the report."""
    met = None if target is None else ratio >= target
    return {
        "name": name,
        "metric": "speed",
        "value": value,
        "unit": "rows/s",
        "ratio": ratio,
        "target": target,
        "met": met,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, at most a minute on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args()
    sizes = [(32, 4), (1024, 4), (1024, 12)] if arguments.quick else [(32, 4), (1024, 4), (1024, 12), (32768, 12)]
    rows = []
    for offered in morlaif_scalarizers():
        scalarizer = offered.build(offered.options())
        for n, k in sizes:
            rows += measure(offered.name, scalarizer, n, k, 40 if arguments.quick else 200)
    print(f"{'scalarizer':<60}{'rows/s':>14}{'ratio':>9}{'target':>8}{'met':>6}")
    for line in rows:
        target = "" if line["target"] is None else f"{line['target']:.0f}"
        met = "" if line["met"] is None else "yes" if line["met"] else "no"
        print(f"{line['name']:<60}{line['value']:>14,.0f}{line['ratio']:>9.1f}{target:>8}{met:>6}")
    print(
        f"medians; morlaif {morlaif_core.__version__}, numpy {np.__version__}, python {platform.python_version()}, "
        f"{platform.machine()} {platform.system()}"
    )
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
