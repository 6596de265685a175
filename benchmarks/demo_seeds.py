"""Does the demo hold for other seeds? `morlaif run demo` with seeds 0 to 9, and what each principle gained.

    python benchmarks/demo_seeds.py [--quick] [--json FILE] [--out FOLDER]

A seed holds where no principle is clearly worse (upper 95 % bound of the paired difference of judge scores above
-0.02), at least half are better (lower bound above 0), and the overall win rate's 95 % interval lies above 0.5. The
intervals of the principles are adjusted for their number (Bonferroni).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tables import print_rows, write_rows

from morlaif_core import run

NEEDED = 9


def main() -> None:
    """Run the seeds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seed 0 alone, cut small")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(10)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    options = parser.parse_args()
    seeds = [0] if options.quick else options.seeds
    sets = ["trainer.steps=10", "prompts.pm=200"] if options.quick else []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        rows = [one_seed(seed, folder / f"demo-{seed}", sets) for seed in seeds]
    held = sum(row["holds"] for row in rows)
    print_rows([shown(row) for row in rows])
    print(f"\n{held} of {len(rows)} seeds hold (target: {NEEDED} of 10)")
    target = round(len(rows) * NEEDED / 10)
    write_rows(
        options.json, [{"name": "demo seeds", "metric": "hold", "value": held, "unit": "seeds", "target": target}]
    )


def one_seed(seed: int, out: Path, sets: list[str]) -> dict[str, Any]:
    """Run the demo with a seed; what it reached."""
    results = run("demo", out=out, sets=[f"seed={seed}", *sets], quiet=True).results
    blocks, win = results["policy"], results["win_rate"]
    bounds = [block["judge_difference_ci95_adjusted"] or (0.0, 0.0) for block in blocks.values()]
    holds = (
        all(high > -0.02 for _, high in bounds)
        and sum(low > 0 for low, _ in bounds) >= len(bounds) / 2
        and win["ci95"][0] > 0.5
    )
    print(f"seed {seed}: {'holds' if holds else 'does not hold'}", flush=True)
    last = json.loads((out / "policy/metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {"seed": seed, "policy": blocks, "win": win, "ended": results["ended"], "kl": last["kl"], "holds": holds}


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A row of the table."""
    cells = {"seed": str(row["seed"])}
    for name, block in row["policy"].items():
        low, high = block["judge_difference_ci95_adjusted"] or (0.0, 0.0)
        cells[name] = f"{block['judge_difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
    low, high = row["win"]["ci95"]
    cells["overall win rate"] = f"{row['win']['overall']:.3f} [{low:.3f}, {high:.3f}]"
    cells["ended"] = f"{row['ended']['before']:.2f} -> {row['ended']['after']:.2f}"
    cells["KL"] = f"{row['kl']:.1f}"
    return {**cells, "holds": "yes" if row["holds"] else "no"}


if __name__ == "__main__":
    main()
