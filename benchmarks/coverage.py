"""How often the 95 % intervals of an evaluation hold the truth, against the percentile bootstrap over prompts.

    python benchmarks/coverage.py [--quick] [--json FILE]

Simulated runs of known win rates: shares of wins among the pairs without a tie of 0.5 to 0.95, 0 to 90 % ties, labels
complete or 20 % missing. Differences: of probabilities, and of verdicts that name a side. With no change: the share of
runs of K principles in which any interval excludes 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special
from tables import print_rows, write_rows

from morlaif_core.stages.held_out_figures import judge_block, mean_interval, overall_block, share_interval

PROMPTS = (20, 50, 200)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
TIES = (0.0, 0.3, 0.6, 0.9)
MISSING = (0.0, 0.2)
LEAST, MOST = 0.93, 0.97


def main() -> None:
    """Simulate, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 prompts alone, a tenth of the runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prompts, runs = (PROMPTS[:1], 200) if options.quick else (PROMPTS, 2000)
    cells = [cell for n in prompts for cell in (*win_rates(n, 10 * runs), *scores(n, runs), *overall(n, runs))]
    changes = [row for n in prompts for row in no_change(n, runs // 2)]
    print_rows(summary(cells))
    print(f"\noutside {LEAST} to {MOST}:\n")
    print("\n".join(f"- {cell['name']}: {cell['value']:.3f}" for cell in cells if not LEAST <= cell["value"] <= MOST))
    print_rows(
        [{"": row["name"], "plain": f"{row['plain']:.3f}", "adjusted": f"{row['value']:.3f}"} for row in changes]
    )
    write_rows(options.json, [{**row, "unit": "share"} for row in [*cells, *changes]])


def summary(cells: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One row for each kind of cell: how many are inside, the lowest and the highest coverage over shares of wins."""
    found = []
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        values = [cell["value"] for cell in cells if cell["kind"] == kind]
        bootstrap = [cell["bootstrap"] for cell in cells if cell["kind"] == kind]
        found.append(
            {
                "": kind,
                "coverage": f"{min(values):.3f} to {max(values):.3f}",
                "cells inside": f"{sum(LEAST <= value <= MOST for value in values)} of {len(values)}",
                "percentile bootstrap": f"{min(bootstrap):.3f} to {max(bootstrap):.3f}",
            }
        )
    return found


def cell(kind: str, share: float, held: float, bootstrap: float) -> dict[str, Any]:
    """One measured cell."""
    name = f"{kind}, share {share}"
    return {"name": name, "kind": kind, "metric": "coverage", "value": held, "bootstrap": bootstrap}


def win_rates(n: int, runs: int) -> Iterator[dict[str, Any]]:
    """Coverage of a principle's win rate on n prompts."""
    for missing in MISSING:
        for ties in TIES:
            for share in SHARES:
                draw = np.random.default_rng(0)
                odds = (share * (1 - ties), (1 - share) * (1 - ties), ties)
                found = draw.multinomial(draw.binomial(n, 1 - missing, runs), odds)
                outcomes, times = np.unique(found[found.sum(axis=1) > 1], axis=0, return_counts=True)
                truth = share * (1 - ties) + ties / 2
                held = [
                    [low <= truth <= high for low, high in (wilson(*outcome), percentile(*outcome))]
                    for outcome in outcomes.tolist()
                ]
                kind = f"win rate, {n} prompts, {ties:.0%} ties, {missing:.0%} missing"
                yield cell(kind, share, *np.average(held, axis=0, weights=times).tolist())


@cache
def wilson(wins: int, losses: int, ties: int) -> Any:
    """The shipped interval of such a count."""
    return share_interval(np.repeat([1.0, 0.0, 0.5], [wins, losses, ties]))


@cache
def percentile(wins: int, losses: int, ties: int) -> Any:
    """The percentile bootstrap of such a count."""
    n = wins + losses + ties
    drawn = np.random.default_rng(0).multinomial(n, [wins / n, losses / n, ties / n], 1000)
    return np.percentile((drawn[:, 0] + drawn[:, 2] / 2) / n, [2.5, 97.5])


def resampled(values: Any) -> Any:
    """The percentile bootstrap of a mean."""
    draws = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
    return np.percentile(values[draws].mean(axis=1), [2.5, 97.5])


def scores(n: int, runs: int) -> Iterator[dict[str, Any]]:
    """Coverage of the difference of judge scores: of probabilities, and of sides with ties as in a win rate."""
    for share in SHARES:
        shift = float(special.logit(share))
        for ties in (None, *TIES):
            draw = np.random.default_rng(1)
            truth = (share - 0.5) * (1 - (ties or 0)) if ties is not None else exact(shift)
            held = np.zeros(2)
            for _ in range(runs // 2):
                if ties is None:
                    p = special.expit(draw.normal([[0.0], [shift]], 2, (2, n)))
                else:
                    p = (draw.random((2, n)) < [[0.5], [share]]) * 1.0
                    p[draw.random((2, n)) < ties] = 0.5
                difference = p[1] - p[0]
                # No interval is one that holds everything.
                for place, ends in enumerate((mean_interval(difference) or (-1, 1), resampled(difference))):
                    held[place] += ends[0] <= truth <= ends[1]
            how = "probabilities" if ties is None else f"sides, {ties:.0%} ties"
            yield cell(f"difference, {n} prompts, {how}", share, *(held / (runs // 2)).tolist())


def exact(shift: float) -> float:
    """The difference of mean probabilities whose log-odds have deviation 2, by quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    return float(weights @ (special.expit(2 * points + shift) - 0.5) / weights.sum())


def overall(n: int, runs: int) -> Iterator[dict[str, Any]]:
    """Coverage of the overall win rate of three principles (weights 2, 1, 1) on prompts that differ."""
    for missing in MISSING:
        for share in SHARES:
            draw = np.random.default_rng(2)
            held = np.zeros(2)
            for _ in range(runs // 2):
                easy = draw.normal(0, 1, n) + np.sqrt(2) * special.ndtri(share)
                rows = (draw.random((3, n)) < special.ndtr(easy)) * 1.0
                rows[draw.random((3, n)) < missing] = np.nan
                block = overall_block(dict(zip("abc", rows, strict=True)), {"a": 2.0, "b": 1.0, "c": 1.0})
                draws = np.random.default_rng(0).integers(0, n, (300, n))
                means = np.nanmean(rows[:, draws], axis=2)
                for place, ends in enumerate((block["ci95"], np.percentile([0.5, 0.25, 0.25] @ means, [2.5, 97.5]))):
                    held[place] += ends[0] <= share <= ends[1]
            yield cell(f"overall win rate, {n} prompts, {missing:.0%} missing", share, *(held / (runs // 2)).tolist())


def no_change(n: int, runs: int) -> Iterator[dict[str, Any]]:
    """With no change: runs of K principles in which an interval of a win rate excludes 0.5."""
    for k in (3, 12):
        for ties in TIES:
            draw, false = np.random.default_rng(3), np.zeros(2)
            for _ in range(runs):
                after = np.where(draw.random((k, n)) < ties, 0.5, draw.random((k, n)))
                blocks = [judge_block(np.full(n, 0.5), row, k) for row in after]
                for place, name in enumerate(("win_rate_ci95", "win_rate_ci95_adjusted")):
                    false[place] += any(not block[name][0] <= 0.5 <= block[name][1] for block in blocks)
            plain, adjusted = (false / runs).tolist()
            name = f"no change, {k} principles, {n} prompts, {ties:.0%} ties"
            yield {"name": name, "metric": "runs that exclude 0.5", "value": adjusted, "plain": plain}


if __name__ == "__main__":
    main()
