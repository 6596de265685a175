"""How often the judge check names the fault that a judge was made with: 500 seeds of 200 pairs, log-odds and letters."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from planted import JUDGES, PAIRS, evidence
from tables import print_rows, write_rows

from morlaif_judge_check.grades import judgements
from morlaif_judge_check.measures import measure

TARGET = 0.93
"""Share of seeds in which the right fault, or none, has to be named."""


def checked(name: str, hard: bool, seeds: int) -> dict[str, Any]:
    """Check one judge on all seeds: how often the right fault was named, how often another, and the grades."""
    judge, fault = JUDGES[name]
    named = others = 0
    grades: Counter[str] = Counter()
    for seed in range(seeds):
        (found,) = judgements([measure(evidence(judge, seed, hard))])
        faults = {item.name for item in found.faults}
        named += fault in faults if fault else found.grade == "usable"
        others += bool(faults - {fault})
        grades[found.grade] += 1
    return {"named": named / seeds, "others": others / seeds, "grades": grades}


def main() -> None:
    """Print the table; --json writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 seeds in place of 500")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    arguments = parser.parse_args()
    seeds = 60 if arguments.quick else 500
    shown, rows = [], []
    for hard in (False, True):
        for name, (_, fault) in JUDGES.items():
            found = checked(name, hard, seeds)
            says = ", ".join(f"{grade} {count / seeds:.0%}" for grade, count in found["grades"].most_common())
            read = "letters" if hard else "log-odds"
            shown.append(
                {
                    "judge": name,
                    "read as": read,
                    "to be named": fault or "usable",
                    "named": f"{found['named']:.1%}",
                    "another fault too": f"{found['others']:.1%}",
                    "says": says,
                }
            )
            metric = f"{fault or 'usable'} named, {read}"
            rows.append({"name": name, "metric": metric, "value": found["named"], "unit": "share", "target": TARGET})
    print(f"{seeds} seeds of {PAIRS} pairs; target {TARGET:.0%}")
    print_rows(shown)
    write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
