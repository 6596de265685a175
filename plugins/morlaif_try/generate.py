"""The command `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from morlaif_core import Prompt, ended, load_run, print_json

from .options import OUT, PROMPT, PROMPTS, SYSTEM, asked_of, prompts_of
from .prompts import line_of, said_in, write_rows


@click.command("generate")
@click.argument("run", type=click.Path(path_type=Path))
@PROMPT
@PROMPTS
@SYSTEM
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Number of responses from each model.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed for the sampling.")
@OUT
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --prompts, JSON lines.")
def generate(
    run: Path,
    prompt: str | None,
    prompts: Path | None,
    system: str | None,
    count: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Answer prompts with the model before and after training, side by side.

    A line of the file is JSON: a text, {"prompt": text or messages} or {"messages": [{"role": …, "content": …}, …]}.
    """
    done = load_run(run)
    asked = prompts_of(prompt, prompts, asked_of(done, system))
    rows = _rows(asked, done.generate(asked, n=count, seed=seed))
    if out is not None:
        write_rows(out, rows)
        click.echo(f"wrote {out}", err=True)
    elif as_json and prompts is None:
        print_json(next(rows))
    else:
        for row in rows:
            click.echo(line_of(row) if as_json else _shown(row, titled=prompts is not None))


def _rows(prompts: Sequence[Prompt], drawn: tuple[Any, Any]) -> Iterator[dict[str, Any]]:
    for prompt, before, after in zip(prompts, *drawn, strict=True):
        whole = {"before": list(map(ended, before)), "after": list(map(ended, after))}
        yield {"prompt": said_in(prompt), "before": list(before), "after": list(after), "ended": whole}


def _shown(row: dict[str, Any], *, titled: bool) -> str:
    """Return a row to be read: answers in pairs, under the prompt's last turn where there are several prompts."""
    said = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
    lines = [f"prompt: {said}"] if titled else []
    for place, (before, after) in enumerate(zip(row["before"], row["after"], strict=True)):
        ends = row["ended"]["before"][place], row["ended"]["after"][place]
        lines += [f"before: {_marked(before, ends[0])}", f"after:  {_marked(after, ends[1])}", ""]
    return "\n".join(lines)


def _marked(response: str, whole: bool) -> str:
    return response if whole else f"{response} [cut off]"
