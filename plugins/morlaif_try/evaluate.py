"""The command `evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import click

from morlaif_core import Prompt, Split, Workbench, load_run, print_json

from .data import opened


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="FILE|NAME", help="A file of prompts, or a data set's test split.")
@click.option(
    "--prompts",
    "most",
    type=click.IntRange(2),
    metavar="N",
    help="Prompts at most, drawn by hash; as many as the run's own evaluation has by default.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A model, or an adapter on the target, in place of the run's policy.",
)
@click.option("--out", metavar="NAME", help="RUN/evaluations/NAME; by default named by the data and the model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: Path, data: str, most: int | None, model: Path | None, out: str | None, as_json: bool) -> None:
    """Evaluate a run's policy, or another model, on other prompts, with the run's judges and preference models.

    The untrained model answers too, and both are compared as at the end of a run. Judging costs what it costs there;
    asked again, nothing is paid twice.
    """
    done = load_run(run)
    name = out or "-".join(
        part.split(".")[0] for part in (Path(data).name, model.resolve().name if model else "") if part
    )
    most = most or len(done.manifest.get("prompt_sets", {}).get("evaluation", ())) or 200
    # What stages say goes to stderr, so that the numbers stay alone on stdout.
    with redirect_stdout(sys.stderr), done.workbench() as bench:
        prompts, skipped = _prompts(bench, data)
        found = bench.evaluate(prompts, name, most=most, model=model)
        found["left_out"] = {**skipped, **found["left_out"]}
        folder = bench.folder / "evaluations" / name
    if as_json:
        print_json(found)
        return
    left = ", ".join(f"{count:,} {why}" for why, count in found["left_out"].items())
    click.echo(f"{found['prompts']:,} prompts of {data}{f' (left out: {left})' if left else ''}")
    bench.show(found)
    click.echo(f"evaluation folder: {folder}")


def _prompts(bench: Workbench, data: str) -> tuple[list[Prompt], Mapping[str, int]]:
    """All prompts of a file, or those of a data set's test split, and what was left out of them. Raises `UserError`."""
    dataset, kind = opened(bench, data)
    splits: tuple[Split, ...] = ("train", "test") if kind == "file" else ("test",)
    return [prompt for split in splits for prompt in dataset.prompts(split)], dataset.skipped
