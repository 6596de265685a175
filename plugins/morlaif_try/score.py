"""The command `score`."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from morlaif_core import Message, RewardBatch, UserError, format_number, load_run, make_prompt, print_json, print_table


@click.command("score")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", required=True, help="What was asked.")
@click.option(
    "--response",
    "responses",
    multiple=True,
    help="A response to score; repeatable. Without this option, one per line is read from stdin.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(run: Path, prompt: str, responses: tuple[str, ...], as_json: bool) -> None:
    """Score responses with the preference models and the reward of a run."""
    texts = list(responses) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise UserError("no response given; say --response TEXT, or write one per line to stdin")
    asked = make_prompt([Message("user", prompt)])
    _show(texts, load_run(run).reward()([asked] * len(texts), texts), as_json)


def _show(texts: Sequence[str], batch: RewardBatch, as_json: bool) -> None:
    """Print the calibrated scores of every principle, and the reward; null, or a dash, for what failed."""
    names = batch.scores.principles
    numbers = [[None if math.isnan(value) else value for value in row] for row in batch.scores.values.tolist()]
    rewards = [None if math.isnan(value) else value for value in batch.rewards.tolist()]
    rows = list(zip(texts, rewards, numbers, strict=True))
    for number, row in enumerate(numbers, 1):
        if lacking := [name for name, value in zip(names, row, strict=True) if value is None]:
            click.echo(
                f"response {number} has no score under {', '.join(lacking)}: its preference model failed", err=True
            )
    if as_json:
        print_json([{"response": t, "reward": r, "scores": dict(zip(names, s, strict=True))} for t, r, s in rows])
        return
    table = [[format_number(reward), *map(format_number, row), text] for text, reward, row in rows]
    print_table(["reward", *names, "response"], table)
