"""The command `preview`: best-of-n with every scalarizer, before training."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morlaif_core import UserError, load_run, print_json, write_json

if TYPE_CHECKING:
    from morlaif_core import Workbench

    from .samples import Sampled
    from .scalarizations import Choice

FOLDER = "preview"
MAX_SEED = 2**32 - 1


@click.command("preview")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompts", type=click.IntRange(2), metavar="N", help="Prompts of the RL set; 200 by default.")
@click.option(
    "--responses", type=click.IntRange(2), default=8, show_default=True, metavar="N", help="Responses for each prompt."
)
@click.option(
    "--scalarizer",
    "scalarizers",
    multiple=True,
    metavar="BLOCK",
    help="A name, or YAML with options: '{use: soft_max_min, temperature: 0.2}'. Repeatable; without, all of them.",
)
@click.option(
    "--judge",
    "judged",
    type=click.IntRange(1),
    metavar="N",
    help="Have the run's judges compare the picks of the first N prompts.",
)
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), help="Of the sampling and the intervals; the run's by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def preview(
    run: Path,
    prompts: int | None,
    responses: int,
    scalarizers: tuple[str, ...],
    judged: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Preview trade-offs before training: what each scalarizer would pick of N responses, under the run's own scores.

    RUN needs its preference models, no policy. Responses and scores are kept in RUN/preview/; only what is missing is
    made. Numbers, tables and pictures lie there too.
    """
    from .pictures import draw
    from .show_preview import show_preview

    path, result, stopped = compared(run, prompts, responses, scalarizers, judged, seed)
    drawn = draw(result, path)
    if as_json:
        print_json(result)
    else:
        show_preview(result)
        click.echo(f"\n{path}/preview.json, {', '.join(file.name for file in drawn)}")
    if stopped is not None:
        raise stopped


def compared(
    run: Path,
    prompts: int | None = None,
    responses: int = 8,
    scalarizers: tuple[str, ...] = (),
    judged: int | None = None,
    seed: int | None = None,
) -> tuple[Path, dict[str, Any], Exception | None]:
    """Sample and score what is missing, compare the choices, write preview.json.

    Args:
        run: the run folder.
        prompts: how many of the RL set; None: 200, or all of them where there are fewer.
        responses: of each prompt, at least 2.
        scalarizers: names or YAML blocks; empty: all that are offered.
        judged: on how many of the prompts the judges judge the picks; None: they are not asked.
        seed: None: the run's.

    Returns:
        RUN/preview, what preview.json holds, and what stopped the judges, whose numbers are then missing.

    Raises:
        UserError: no run, no preference models, a scalarizer that is unknown or does not fit, more prompts than there
            are, or judges that cannot be asked; before anything is sampled.
    """
    from .best_of_n import picks
    from .judged import check_judges, judge_picks
    from .samples import Wanted, sampled
    from .scalarizations import choices_of, rewards_of

    # What the run says on the way goes to stderr: stdout is the result's.
    with redirect_stdout(sys.stderr), load_run(run).workbench() as bench:
        seed = bench.seed if seed is None else seed
        folder = bench.folder / FOLDER
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file, but the preview needs a folder of that name; move the file away")
        _ = bench.fingerprint  # which says what to run where there are no preference models
        # All that can be refused is, before anything is sampled.
        choices = choices_of(bench, scalarizers)
        if judged is not None:
            check_judges(bench)
        found = sampled(bench, folder, Wanted(prompts, responses, judged), seed)
        rewards, left_out = rewards_of(bench, found, choices)
        result = _trade_offs(bench, found, rewards, seed)
        result |= {"left_out": left_out, "failed": found.failed, "settings": _settings(found, choices, rewards, seed)}
        # Before the judges are asked: where they are cut short, this is what is kept.
        write_json(folder / "preview.json", result)
        if judged is None:
            return folder, result, None
        try:
            picked = {name: picks(u) for name, u in rewards.items()}
            scores = judge_picks(bench, found, picked, judged)
        except Exception as stopped:  # a budget that is spent, a server that is down: all else is known
            return folder, result, stopped
    for name, block in scores.items():
        result["scalarizers"][name]["judged"] = block
    result["settings"]["judged_prompts"] = min(judged, len(found.prompts))
    write_json(folder / "preview.json", result)
    return folder, result, None


def _trade_offs(bench: Workbench, found: Sampled, rewards: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Compare the choices by the scores of their picks; principles of weight 0 are marked."""
    from .best_of_n import Grid
    from .trade_offs import trade_offs

    principles, terms = found.scores.principles, bench.settings.principles
    values = found.scores.values.astype("float64").reshape(len(found.prompts), -1, len(principles))
    grid = Grid(values, principles, tuple(prompt.id for prompt in found.prompts))
    return trade_offs(grid, rewards, seed, [name for name in principles if terms[name].weight == 0])


def _settings(found: Sampled, choices: list[Choice], rewards: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What the numbers were made with."""
    configured = next((choice.name for choice in choices if choice.configured and choice.name in rewards), None)
    return {
        "prompt_set": "rl",
        "seed": seed,
        "judged_prompts": None,
        "configured": configured,
        "scalarizers": {choice.name: choice.block for choice in choices if choice.name in rewards},
        "fingerprint": found.fingerprint,
    }
