"""Seconds of each scalarizer for a million responses under twelve principles, against a loop over rows; medians."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from loops import GROUP, loops
from tables import write_rows

import morlaif_core
from morlaif_core import Component, Scalarizer
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers

K = 12
SECONDS = {False: 1.0, True: 5.0}
"""What a million rows may take: row by row, and within groups."""


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(offered: Component[Scalarizer], n: int, looped: int, repeats: int) -> dict[str, Any]:
    """Time n rows at once; the loop over ``looped`` of them, which must give the same, is scaled to n."""
    options = {"principle": "p0"} if offered.name == "single" else {}
    scalarizer = offered.build(offered.options.model_validate(options))
    values = np.random.default_rng(0).uniform(-3, 3, (n, K)).astype(np.float32)
    features = np.zeros((n, 1), dtype=np.float32)
    scores, terms = replace(make_scores(values, group=GROUP), features=features), make_terms(k=K)
    loop, rows = loops(terms)[offered.name], values[:looped].tolist()
    few = replace(make_scores(values[:looped], group=GROUP), features=features[:looped])
    # Before the clock runs: a ratio of two that differ would mean nothing.
    np.testing.assert_allclose(scalarizer(few, terms), loop(rows), rtol=1e-3, atol=1e-3)
    ours = seconds(lambda: scalarizer(scores, terms), repeats)
    theirs = seconds(lambda: loop(rows), repeats) * n / looped
    target = SECONDS["groups" in offered.needs]
    return {
        "name": offered.name,
        "metric": f"{n:,} x {K} scores",
        "value": ours,
        "unit": "s",
        "ratio": theirs / ours,
        "target": target,
        "met": ours < target if n >= 1_000_000 else None,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats, at most a minute on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args()
    n, looped, repeats = (100_000, 2_000, 3) if arguments.quick else (1_000_000, 20_000, 3)
    print(f"{'scalarizer':<24}{'seconds':>10}{'loop / ours':>13}{'target s':>10}{'met':>6}")
    rows = []
    for offered in morlaif_scalarizers():
        row = measure(offered, n, looped, repeats)
        rows.append(row)
        met = "" if row["met"] is None else "yes" if row["met"] else "no"
        print(f"{row['name']:<24}{row['value']:>10.3f}{row['ratio']:>13.1f}{row['target']:>10.0f}{met:>6}", flush=True)
    print(
        f"{n:,} responses x {K} principles, medians of {repeats}; morlaif {morlaif_core.__version__}, numpy "
        f"{np.__version__}, python {platform.python_version()}, {platform.machine()} {platform.system()}"
    )
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
