"""The command `score`."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from morlaif_core import (
    Prompt,
    RewardBatch,
    UserError,
    ended,
    format_number,
    load_run,
    print_json,
    print_table,
)

from .options import OUT, PROMPT, PROMPTS, SYSTEM, asked_of, check_one
from .prompts import Asked, line_of, responses_of, rows_in, said_in, write_rows


@click.command("score")
@click.argument("run", type=click.Path(path_type=Path))
@PROMPT
@click.option(
    "--response",
    "responses",
    multiple=True,
    help="A response to score; repeatable. Without this option, one per line is read from stdin.",
)
@PROMPTS
@SYSTEM
@OUT
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --prompts, JSON lines.")
def score(
    run: Path,
    prompt: str | None,
    responses: tuple[str, ...],
    prompts: Path | None,
    system: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score responses with the preference models and the reward of a run.

    A line of the file is JSON: {"prompt": text or messages, "response": text or texts}, with "ended": false where the
    response was cut off.
    """
    check_one(prompt, prompts)
    if prompts is not None and responses:
        raise UserError("--response goes with --prompt; in a file each row says its own `response`")
    done = load_run(run)
    asked = asked_of(done, system)
    heads, texts = _given(asked.prompt(prompt), responses) if prompts is None else _read(prompts, asked)
    rows = _rows(heads, texts, done.reward()(heads, texts))
    _tell_failed(rows)
    if out is not None:
        write_rows(out, rows)
        click.echo(f"wrote {out}", err=True)
    elif as_json and prompts is not None:
        click.echo("\n".join(map(line_of, rows)))
    else:
        _show(rows, as_json)


def _given(prompt: Prompt, responses: Sequence[str]) -> tuple[list[Prompt], list[str]]:
    texts = list(responses) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise UserError("no response given; say --response TEXT, or write one per line to stdin")
    return [prompt] * len(texts), texts


def _read(file: Path, asked: Asked) -> tuple[list[Prompt], list[str]]:
    """Return prompts and responses, one a row of the result. Raises `UserError` with the line that is wrong."""
    prompts: list[Prompt] = []
    texts: list[str] = []
    for where, row in rows_in(file):
        try:
            prompt, found = asked.of_row(row), responses_of(row)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        prompts += [prompt] * len(found)
        texts += found
    if not texts:
        raise UserError(f"{file} holds no response; a row is {{prompt: …, response: …}}")
    return prompts, texts


def _rows(prompts: Sequence[Prompt], texts: Sequence[str], batch: RewardBatch) -> list[dict[str, Any]]:
    """Return the calibrated scores of every principle, and the reward; null for what failed."""
    names = batch.scores.principles
    return [
        {
            "prompt": said_in(prompt),
            "response": str(text),
            "ended": ended(text),
            "reward": _number(reward),
            "scores": dict(zip(names, map(_number, scores), strict=True)),
        }
        for prompt, text, reward, scores in zip(
            prompts, texts, batch.rewards.tolist(), batch.scores.values.tolist(), strict=True
        )
    ]


def _tell_failed(rows: Sequence[dict[str, Any]]) -> None:
    for number, row in enumerate(rows, 1):
        if lacking := [name for name, value in row["scores"].items() if value is None]:
            click.echo(
                f"response {number} has no score under {', '.join(lacking)}: its preference model failed", err=True
            )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _show(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON, or as a table with a dash for what failed."""
    if as_json:
        print_json(rows)
        return
    table = [
        [format_number(row["reward"]), *map(format_number, row["scores"].values()), row["response"]] for row in rows
    ]
    print_table(["reward", *rows[0]["scores"], "response"], table)
