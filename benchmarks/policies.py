"""What each scalarizer does to a policy: the demo's conflicting principles, a run for every scalarizer and seed.

    python benchmarks/policies.py [--quick] [--json FILE] [--out FOLDER] [--seeds 0 1 2] [--only NAME…] [--kl 2.0]

Two tables: after all steps, and at equal KL, from a second run of each that ends at the step whose KL first passes --kl (0:
no second runs). kl: nats a response, mean over the last five steps; at equal KL, of the last step. ended: share of held-out
answers that ended by themselves.

The runs of a seed share pairs, labels and preference models; only policy and evaluation differ. Judge score: mean
P(preferred) against one frozen reference response for each of 1,000 held-out prompts. Intervals: bootstrap over the
prompts, drawn within each seed; they say nothing of other seeds, whose own means stand in --json. What was run stays in
FOLDER, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from runs import before_and_after
from tables import print_rows, write_rows

from morlaif_core import Run, load_run, make_pair, run
from morlaif_core.runs.folder import read_jsonl
from morlaif_core.stages.judge import judge_pairs
from morlaif_core.stages.train_policy import METRICS

Doubles: TypeAlias = NDArray[np.float64]
BASE = ["dataset.prompts=12000", "prompts.evaluation=1000"]
QUICK = ["prompts.pm=200", "prompts.evaluation=100", "trainer.steps=3"]
SCALARIZERS = {
    "weighted": ["scalarizer.use=weighted"],
    "max_min": ["scalarizer.use=max_min"],
    "max_min, expected": ["scalarizer.use=max_min", "reward.utility=expected"],
    "soft_max_min": ["scalarizer.use=soft_max_min"],
    "lower_quantile": ["scalarizer.use=lower_quantile"],
    "owa": ["scalarizer.use=owa"],
    "power_mean": ["scalarizer.use=power_mean"],
    "bernoulli_nash": ["scalarizer.use=bernoulli_nash"],
    "chebyshev": ["scalarizer.use=chebyshev"],
    "max_median": ["scalarizer.use=max_median"],
    "uncertainty_weighted": ["scalarizer.use=uncertainty_weighted"],
    "lexicographic": ["scalarizer.use=lexicographic"],
    "lagrangian": ["scalarizer.use=lagrangian"],
    "leximin": ["scalarizer.use=leximin"],
    "lexicographic_rank": ["scalarizer.use=lexicographic_rank"],
    "normalize_then_sum": ["scalarizer.use=normalize_then_sum"],
    "single: conciseness": ["scalarizer={use: single, principle: conciseness}"],
    "single: detail": ["scalarizer={use: single, principle: detail}"],
    "single: politeness": ["scalarizer={use: single, principle: politeness}"],
}
"""`gated` is not among them: it needs features, which no preference model supplies yet."""
DRAWS = 4000


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, two scalarizers, cut small")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", help="these scalarizers alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    parser.add_argument("--kl", type=float, default=2.0, help="nats a response of the second comparison; 0: none")
    options = parser.parse_args()
    seeds, names = options.seeds, options.only or list(SCALARIZERS)
    sets = BASE
    if options.quick:
        seeds, names, sets = seeds[:1], ["weighted", "max_min"], BASE + QUICK
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        found, numbers = compared(folder, names, seeds, sets)
        print_rows(score_rows(found, numbers))
        if options.kl:
            print(f"\nat the step whose KL first passes {options.kl:g} nats, or the last one:")
            print_rows(score_rows(*compared(folder, names, seeds, sets, options.kl)))
    rows = [
        {
            "name": f"{name}, seed {seed}",
            "metric": f"judge score, {principle}",
            "value": float(values.mean()),
            "unit": "",
        }
        for name, by_seed in found.items()
        for seed, scores in by_seed.items()
        for principle, values in scores.items()
    ]
    if {"max_min", "weighted"} <= found.keys():
        print("\nmax_min minus weighted, the principle that is worst under weighted, paired by prompt:\n")
        worst, difference = worst_difference(found)
        mean, low, high = interval(difference)
        print(f"{worst}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
        name = f"max_min minus weighted on {worst}"
        rows.append({"name": name, "metric": "lower bound", "value": low, "unit": "", "target": -0.02})
    write_rows(options.json, rows)


def compared(
    folder: Path, names: list[str], seeds: list[int], sets: list[str], kl: float | None = None
) -> tuple[dict[str, dict[int, dict[str, Doubles]]], dict[str, list[dict[str, float | None]]]]:
    """Run every scalarizer and seed, up to a KL: judge scores by scalarizer and seed, and each run's kl and ended."""
    found: dict[str, dict[int, dict[str, Doubles]]] = {name: {} for name in names}
    numbers: dict[str, list[dict[str, float | None]]] = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            done = one_run(folder, name, seed, sets, kl)
            found[name][seed] = judge_scores(done)
            rows = list(read_jsonl(done.folder / METRICS))[-5 if kl is None else -1 :]
            after = done.results.get("ended", {}).get("after")
            numbers[name].append({"kl": sum(row["kl"] for row in rows) / len(rows), "ended": after})
    return found, numbers


def one_run(folder: Path, name: str, seed: int, sets: list[str], kl: float | None = None) -> Run:
    """The finished run of a scalarizer and a seed; its preference models are those of the seed's base run."""
    sets = [f"seed={seed}", *sets]
    stop = "" if kl is None else f"-kl-{kl:g}"
    base, out = folder / f"base-{seed}", folder / f"{name.replace(': ', '-').replace(', ', '-')}{stop}-{seed}"
    run("demo-tradeoff", out=base, sets=sets, until="train-pms", quiet=True)
    if not out.exists():
        part = out.with_name(f".{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        # By rename, so that a copy that was cut off never passes for a run.
        shutil.copytree(base, part)
        part.rename(out)
    start = time.monotonic()
    ends = [] if kl is None else [f"trainer.stop_at_kl={kl}"]
    done = run("demo-tradeoff", out=out, sets=[*sets, *SCALARIZERS[name], *ends], quiet=True)
    print(f"{name}{stop}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    return done


def judge_scores(done: Run) -> dict[str, Doubles]:
    """Principle -> P(the trained policy's response preferred to the reference), by prompt in the order of ids."""
    context = load_run(done.folder).context()
    pairs = [make_pair(item.pair.prompt, item.pair.a, after) for item, after in before_and_after(done.folder)]
    asked = [pair for pair in pairs if pair.a != pair.b]
    verdicts = judge_pairs(context, asked, context.config.principles, "evaluate")
    preferred = {(verdict.pair, verdict.principle): verdict.p_a for verdict in verdicts}
    assert None not in preferred.values(), f"{done.folder}: the judge left pairs without a label"
    return {
        # 1 -, as the reference is a of each pair.
        item.name: np.array([1 - (0.5 if pair.a == pair.b else preferred[pair.id, item.name]) for pair in pairs])
        for item in context.config.principles
    }


def score_rows(
    found: dict[str, dict[int, dict[str, Doubles]]], numbers: dict[str, list[dict[str, float | None]]]
) -> list[dict[str, str]]:
    """The table: judge score per principle by scalarizer, pooled over the seeds; the worst of them; kl and ended."""
    rows = []
    for name, by_seed in found.items():
        cells, means = {"scalarizer": f"`{name}`"}, []
        for principle in next(iter(by_seed.values())):
            mean, low, high = interval([scores[principle] for scores in by_seed.values()])
            cells[principle] = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
            means.append(mean)
        rows.append(
            {**cells, "worst": f"{min(means):.3f}", **{key: mean_of(numbers[name], key) for key in ("kl", "ended")}}
        )
    return rows


def mean_of(numbers: list[dict[str, float | None]], key: str) -> str:
    """The mean over the seeds; a dash where a run does not say it."""
    values = [value for value in (row[key] for row in numbers) if value is not None]
    return f"{sum(values) / len(values):.2f}" if len(values) == len(numbers) else "-"


def worst_difference(found: dict[str, dict[int, dict[str, Doubles]]]) -> tuple[str, list[Doubles]]:
    """The principle that is worst under weighted, and max_min minus weighted on it, an array for each seed."""
    weighted, fair = found["weighted"], found["max_min"]
    pooled: dict[str, Any] = {
        principle: np.mean([scores[principle].mean() for scores in weighted.values()])
        for principle in next(iter(weighted.values()))
    }
    worst = min(pooled, key=lambda principle: float(pooled[principle]))
    return worst, [fair[seed][worst] - weighted[seed][worst] for seed in weighted]


def interval(by_seed: list[Doubles]) -> tuple[float, float, float]:
    """Mean over the seeds' means, and its 95 % bootstrap interval over the prompts within each seed."""
    generator = np.random.default_rng(0)
    draws = [values[generator.integers(0, len(values), (DRAWS, len(values)))].mean(axis=1) for values in by_seed]
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    return float(np.mean([values.mean() for values in by_seed])), float(low), float(high)


if __name__ == "__main__":
    main()
