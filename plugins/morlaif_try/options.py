"""The options that `generate` and `score` share, and what they come to."""

from __future__ import annotations

from pathlib import Path

import click

from morlaif_core import Prompt, Run, UserError

from .prompts import Asked, rows_in

PROMPT = click.option("--prompt", help="What is asked; either this or --prompts.")
PROMPTS = click.option("--prompts", type=click.Path(path_type=Path), metavar="FILE", help="A file of JSON lines.")
SYSTEM = click.option(
    "--system", help="Put before prompts without a system turn; by default the run's system_prompt, '' for none."
)
OUT = click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write JSON lines to a file.")


def asked_of(run: Run, system: str | None) -> Asked:
    """Return what makes prompts as the run does, or with another system prompt."""
    # The policy was trained with it: without it, the answers would be to another question.
    return Asked(run.context().settings.system_prompt if system is None else system)


def check_one(prompt: str | None, prompts: Path | None) -> None:
    """Raise `UserError` unless there is a prompt or a file of prompts."""
    if (prompt is None) == (prompts is None):
        raise UserError("say either --prompt TEXT or --prompts FILE")


def prompts_of(prompt: str | None, prompts: Path | None, asked: Asked) -> list[Prompt]:
    """Return the prompts that are given, by one option or the other. Raises `UserError` with the line that is wrong."""
    check_one(prompt, prompts)
    if prompts is None:
        return [asked.prompt(prompt)]
    found = []
    for where, row in rows_in(prompts):
        try:
            found.append(asked.of_row(row))
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    return found
