"""The command `generate`."""

from __future__ import annotations

from pathlib import Path

import click

from morlaif_core import Message, ended, load_run, make_prompt, print_json


@click.command("generate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", required=True, help="What to ask.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Number of responses from each model.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed for the sampling.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def generate(run: Path, prompt: str, count: int, seed: int, as_json: bool) -> None:
    """Answer a prompt with the model before and after training, side by side."""
    drawn = load_run(run).generate([make_prompt([Message("user", prompt)])], n=count, seed=seed)
    before, after = (list(answers[0]) for answers in drawn)
    if as_json:
        whole = {"before": list(map(ended, before)), "after": list(map(ended, after))}
        print_json({"before": before, "after": after, "ended": whole})
        return
    for one, other in zip(before, after, strict=True):
        click.echo(f"before: {_shown(one)}\nafter:  {_shown(other)}\n")


def _shown(response: str) -> str:
    return response if ended(response) else f"{response} [cut off]"
