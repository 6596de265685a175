"""What `morlaif estimate` prints: a row for each stage and judge, the sum, and what the numbers rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from morlaif_core import print_table

COLUMNS = (
    "stage",
    "judge",
    "mode",
    "requests",
    "prompt tokens",
    "cacheable",
    "output tokens",
    "USD",
    "USD in batches",
    "time at the limits",
)
NOUNS = {"win_rate": "win rate", "pm_accuracy": "held-out accuracy of a preference model"}


def show_estimate(found: Mapping[str, Any]) -> None:
    """Print the table of `estimate`, then notes."""
    rows = [_cells(row, row["stage"], row["judge"], row["mode"]) for row in found["rows"]]
    print_table(COLUMNS, [*rows, _cells(found["total"], "together", "", "")])
    for line in lines(found):
        click.echo(line)


def lines(found: Mapping[str, Any]) -> list[str]:
    """What is said below the table."""
    total, pairs = found["total"], found["pairs"]
    said = [f"\n{pairs['judge']:,} pairs to be judged for training, {pairs['evaluate']:,} for evaluation"]
    if total["answered_before"]:
        said.append(f"{total['answered_before']:,} more requests are already answered in the ledger")
    if total["usd_at_most"] is not None:
        said.append(
            f"at most ${total['usd_at_most']:,.2f}: a token is a byte at least, and answers are as long as allowed; "
            f"${total['usd_cached']:,.2f} where a prefix cache serves all it can (many serve long prompts alone)"
        )
    said += _budget(found)
    for name, block in found["smallest_difference"].items():
        least = block["least"]
        what = (
            "cannot be distinguished from 0.5"
            if least is None
            else f"of {least:.3f} or more can be distinguished from 0.5"
        )
        said.append(f"{NOUNS[name]} over {block['prompts']:,} prompts: one {what} (test at 5 %, power 80 %)")
    return [*said, *(f"note: {note}" for note in found["notes"])]


def _budget(found: Mapping[str, Any]) -> list[str]:
    cap, most, spent = found["budget"]["usd"], found["total"]["usd_at_most"], found["spent_usd"]
    if cap is None or most is None:
        return []
    enough = "is always enough" if spent + most <= cap else "may end the run before it is done"
    return [f"budget.usd: ${cap:,.2f}, of which ${spent:,.2f} is spent, {enough}"]


def _cells(row: Mapping[str, Any], stage: str, judge: str, mode: str) -> list[str]:
    least, most = row["requests_at_least"], row["requests"]
    requests = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    tokens = [f"{row[key]:,}" for key in ("prompt_tokens", "cacheable_tokens", "output_tokens")]
    minutes = row["minutes"]
    return [
        stage,
        judge,
        mode,
        requests,
        *tokens,
        _usd(row["usd"]),
        _usd(row["usd_batch"]),
        "-" if minutes is None else f"{minutes:,.0f} min",
    ]


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"
