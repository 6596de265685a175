"""What a finished run did to the texts: length, share ended, distinct bigrams, KL, and the first held-out answers by id.

    python benchmarks/before_after.py RUN [--texts 10] [--json FILE]

Prints Markdown. Ended: not cut off at generation.max_new_tokens. Distinct bigrams: of all pairs of neighbouring words in
all answers together, the share that differ.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from runs import before_and_after
from tables import print_rows, write_rows

from morlaif_core import Run, format_number, load_run
from morlaif_core.runs.tables import measured


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = load_run(options.run)
    rows = before_and_after(options.run)
    before, after = [item.pair.b for item, _ in rows], [text for _, text in rows]
    found = [*principles(run), *texts(run, before, after), *kl(options.run)]
    print_rows(
        [{"": row["name"], "before": row["before"], "after": row["after"], "change": row["change"]} for row in found]
    )
    write_rows(
        options.json, [{"name": row["name"], "metric": "after", "value": row["after"], "unit": ""} for row in found]
    )
    for item, text in rows[: options.texts]:
        print(f"\n> **{quoted(item.pair.prompt.messages[-1].content)}**\n>\n> *before:* {quoted(item.pair.b)}\n>")
        print(f"> *after:* {quoted(text)}")


def principles(run: Run) -> list[dict[str, str]]:
    """Judge scores with their paired difference and win rates, both with adjusted intervals, then model scores."""
    rows = []
    for name, block in run.results["policy"].items():
        difference = measured(block["judge_difference"], block.get("judge_difference_ci95_adjusted"))
        change = f"{difference}, win rate {measured(block['win_rate'], block.get('win_rate_ci95_adjusted'))}"
        rows.append(row(f"judge, {name}", f"{block['judge_before']:.3f}", f"{block['judge_after']:.3f}", change))
    for name, block in run.results["policy"].items():
        rows.append(row(f"preference model, {name}", f"{block['pm_before']:+.2f}", f"{block['pm_after']:+.2f}"))
    win = run.results["win_rate"]
    low, high = win["ci95"]
    return [
        *rows,
        row("overall win rate", "0.5", f"{win['overall']:.3f}", f"[{low:.3f}, {high:.3f}], {win['n']} prompts"),
    ]


def texts(run: Run, before: Sequence[str], after: Sequence[str]) -> list[dict[str, str]]:
    """Words, share ended, distinct bigrams."""
    return [
        row("words", *(f"{sum(len(text.split()) for text in side) / len(side):.1f}" for side in (before, after))),
        row("share ended", *(format_number(run.results.get("ended", {}).get(side), 2) for side in ("before", "after"))),
        row("distinct bigrams", *(f"{distinct_bigrams(side):.2f}" for side in (before, after))),
    ]


def distinct_bigrams(answers: Sequence[str]) -> float:
    """Share of distinct bigrams of words over all answers."""
    words = [text.lower().split() for text in answers]
    bigrams = [pair for row in words for pair in pairwise(row)]
    return len(set(bigrams)) / max(1, len(bigrams))


def kl(folder: Path) -> list[dict[str, str]]:
    """Nats a response at the last step, and how many steps there were."""
    lines = (folder / "policy/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps: list[dict[str, Any]] = [json.loads(line) for line in lines]
    last = steps[-1]
    return [
        row("KL to the reference, nats a response", "0", f"{last['kl']:.1f}", f"{last['step']} steps"),
        row("ended in rollouts", f"{steps[0]['ended']:.2f}", f"{last['ended']:.2f}"),
    ]


def row(name: str, before: str, after: str, change: str = "") -> dict[str, str]:
    """A row of the table."""
    return {"name": name, "before": before, "after": after, "change": change}


def quoted(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split()) or "(nothing)"


if __name__ == "__main__":
    main()
