"""Seconds of `morlaif preview` once the scores are there: scalarize, compare, draw; medians.

    python benchmarks/preview.py [--quick] [--json FILE]

2,000 prompts x 8 responses x 12 principles, every offered scalarizer and `single` for each principle, on one core where
OMP_NUM_THREADS=1. Scores are random: independent under each principle, or of one mind (correlation 0.5), where every
choice beats a random response everywhere and the front is largest. Ratios: the bootstrap against a loop that gathers the
rows of each draw, the hypervolume and its parts against moocore without each point in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import moocore
import numpy as np
from numpy.typing import NDArray
from tables import print_rows, write_rows

import morlaif_core
from morlaif_analysis.preview.best_of_n import Grid, of_picks, picks
from morlaif_analysis.preview.bootstrap import DRAWS, intervals
from morlaif_analysis.preview.fronts import hypervolume, on_front
from morlaif_analysis.preview.pictures import draw
from morlaif_analysis.preview.trade_offs import trade_offs
from morlaif_core.testing import make_scores, make_terms
from morlaif_scalarizers import morlaif_scalarizers

Doubles = NDArray[np.float64]
T = TypeVar("T")
N, K = 8, 12
SECONDS = 60.0
"""What all of it may take."""
AGREEMENT = {"independent": 0.0, "of one mind": 0.5}
"""The correlation of two principles' scores."""


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer prompts, once; at most a minute on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    options = parser.parse_args()
    m, repeats, looped = (500, 1, 20) if options.quick else (2_000, 3, 100)
    rows = [row for name in AGREEMENT for row in measured(name, m, repeats, looped)]
    print_rows([shown(row) for row in rows])
    write_rows(options.json, rows)


def measured(name: str, m: int, repeats: int, looped: int) -> list[dict[str, Any]]:
    """Time each step on scores of one kind. looped: draws of the bootstrap by loop, scaled to all of them."""
    grid = scored(m, AGREEMENT[name])
    scalarizing, rewards = seconds(lambda: scalarized(grid), repeats)
    comparing, result = seconds(lambda: trade_offs(grid, rewards, 0), repeats)
    drawing = drawn(result, repeats)
    picked = np.stack([of_picks(grid.values, picks(u)) for u in rewards.values()], axis=1)
    drawing_lots, _ = seconds(lambda: intervals(picked.reshape(m, -1), 0), repeats)
    loop, _ = seconds(lambda: by_loop(picked.reshape(m, -1), looped), 1)
    points, reference = picked.mean(axis=0), grid.values.min(axis=1).mean(axis=0)
    measuring, (volume, parts) = seconds(lambda: hypervolume(points, reference), repeats)
    alone, (whole, added) = seconds(lambda: by_moocore(points, reference), 1)
    np.testing.assert_allclose([volume, *parts], [whole, *added], rtol=1e-6, atol=1e-6 * whole)
    front = f"{len(result['front']['names'])} of {len(rewards)} on the front"
    everything = scalarizing + comparing + drawing
    scores = f"{name}, {m:,} x {N} x {K}"
    return [
        {"name": "scalarize", "metric": f"{scores}, {len(rewards)} choices", "value": scalarizing, "unit": "s"},
        {"name": "compare", "metric": scores, "value": comparing, "unit": "s"},
        {"name": "draw", "metric": scores, "value": drawing, "unit": "s"},
        {"name": "all", "metric": scores, "value": everything, "unit": "s", "target": SECONDS},
        {
            "name": "bootstrap",
            "metric": f"{scores}, {DRAWS:,} draws; against a loop",
            "value": drawing_lots,
            "unit": "s",
            "ratio": loop * DRAWS / looped / drawing_lots,
        },
        {
            "name": "hypervolume",
            "metric": f"{name}, {front}; against moocore alone",
            "value": measuring,
            "unit": "s",
            "ratio": alone / measuring,
        },
    ]


def scored(m: int, correlation: float) -> Grid:
    """Normal scores within the clip range."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(m, N, 1)), rng.normal(size=(m, N, K))
    values = 3 * np.tanh((np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own) / 3)
    return Grid(
        # Rounded to float32, as a run's scores are.
        values.astype(np.float32).astype(np.float64),
        tuple(f"p{k}" for k in range(K)),
        tuple(f"prompt-{i}" for i in range(m)),
    )


def scalarized(grid: Grid) -> dict[str, Doubles]:
    """Rewards under every offered scalarizer with default options, and `single` of each principle."""
    m = len(grid.prompt_ids)
    scores = make_scores(grid.values.reshape(-1, K), grid.principles, group=N)
    scores = replace(scores, features=np.ones((m * N, 1), dtype=np.float32))
    terms, found = make_terms(k=K), dict[str, Doubles]()
    for offered in morlaif_scalarizers():
        cases: list[dict[str, str]] = [{}]
        if offered.name == "single":
            cases = [{"principle": name} for name in grid.principles]
        for case in cases:
            scalarizer = morlaif_core.build("scalarizer", offered.name, **case)
            u = scalarizer(scores, terms).astype(np.float64).reshape(m, N)
            found[": ".join([offered.name, *case.values()])] = u
    return found


def drawn(result: dict[str, Any], repeats: int) -> float:
    """Seconds of the pictures."""
    full = {**result, "left_out": {}, "settings": {"configured": "weighted"}}
    with tempfile.TemporaryDirectory() as folder:
        return seconds(lambda: draw(full, Path(folder)), repeats)[0]


def by_loop(values: Doubles, draws: int) -> Doubles:
    """Intervals of means, a draw at a time."""
    rng = np.random.default_rng(0)
    means = np.array([values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(draws)])
    ends: Doubles = np.quantile(means, [0.025, 0.975], axis=0)
    return ends


def by_moocore(points: Doubles, reference: Doubles) -> tuple[float, Doubles]:
    """Hypervolume of the front and what each point adds, by moocore alone: without each point once."""
    gains = np.where(on_front(points)[:, None], points - reference, -1.0)
    used = (gains > 0).all(axis=1)

    def volume(rows: Doubles) -> float:
        return float(moocore.hypervolume(rows, ref=0.0, maximise=True))

    whole = volume(gains[used])
    rest = [volume(np.delete(gains, i, axis=0)[np.delete(used, i)]) if used[i] else whole for i in range(len(gains))]
    return whole, whole - np.array(rest)


def seconds(call: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Median seconds of a call, and what it returned."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), found


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A row of the table."""
    ratio, target = row.get("ratio"), row.get("target")
    return {
        "step": row["name"],
        "of": row["metric"],
        "seconds": f"{row['value']:.3f}",
        "ratio": "" if ratio is None else f"{ratio:.1f}",
        "target": "" if target is None else f"{target:.0f} s",
    }


if __name__ == "__main__":
    main()
