"""The command `morlaif fit-weights`: weights from the data set's human labels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morlaif_core import Preference, UserError, load_run, print_json, write_json, write_text

if TYPE_CHECKING:
    from .choices import Choices

SETS = ("rl", "validation", "calibration")
"""No preference model was trained on their prompts, and none of them is for the final evaluation."""
ROWS = 256
"""Pairs scored between two moves of the bar."""
SAME_LABELS = "its preference model learns from labels of the same people"


@click.command("fit-weights")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Maximum number of human choices, drawn by hash.",
)
@click.option("--signed", is_flag=True, help="Allow coefficients below 0; the YAML has weight 0 for them.")
@click.option(
    "--resamples", type=click.IntRange(100), default=1000, show_default=True, help="Bootstrap resamples of the prompts."
)
@click.option(
    "--orders", type=click.IntRange(2), default=200, show_default=True, help="Orders of the principles for the gains."
)
@click.option("--out", type=click.Path(path_type=Path), help="The YAML file; RUN/weights/weights.yaml by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fit_weights(
    run: Path, pairs: int, signed: bool, resamples: int, orders: int, out: Path | None, as_json: bool
) -> None:
    """Fit the principles' weights to the data set's own human labels, and say how far they can be trusted.

    RUN has its preference models (`--until train-pms`). Their score differences on pairs that they were not trained on
    predict which response people chose. All numbers go to RUN/weights/weights.json; the YAML is a layer:
    `morlaif run CONFIG RUN/weights/weights.yaml`. It is not written where the weights predict worse than equal ones.
    """
    from .findings import findings, recommended
    from .measure import Plan, measure
    from .show_weights import show_weights
    from .weights_file import check_writable, weights_layer

    # Before the work, or its result would have nowhere to go.
    if out is not None:
        check_writable(out)
    # What libraries say on the way goes to stderr: stdout is the result's.
    with redirect_stdout(sys.stderr), load_run(run).workbench() as bench:
        terms = {name: item.model_dump(mode="json") for name, item in bench.settings.principles.items()}
        human = [name for name in terms if bench.settings.judge_of(name) == "human"]
        names = [name for name in terms if name not in human]
        choices, failed = _choices(bench, names, pairs)
        plan = Plan(bench.seed, resamples, orders, signed, _own_weights(terms, names))
        found = {"format": 1, **measure(choices, names, plan, bench.bar)}
        found |= {"left_out": dict.fromkeys(human, SAME_LABELS), "failed": failed}
        found |= {"findings": findings(found), "recommended": recommended(found)}
        found["settings"] = {"pairs": pairs, "resamples": resamples, "seed": bench.seed, "run": bench.fingerprint}
        folder, dataset = bench.folder / "weights", bench.settings.dataset.use
        write_json(folder / "weights.json", found)
        usable = any(block["weight"] > 0 for block in found["principles"].values())
        file = out or folder / "weights.yaml"
        if usable and (found["recommended"] or out):
            write_text(file, weights_layer(found, terms, dataset, file))
        elif out is None:
            file.unlink(missing_ok=True)  # an older fit's would be taken for this one's
    if as_json:
        print_json(found)
    else:
        show_weights(found)
    if not usable:
        raise UserError(
            "no principle has a coefficient above 0: none predicts what people chose, so no YAML is written; "
            f"see {folder / 'weights.json'}"
        )
    _say_what_to_do(found["recommended"], folder / "weights.json", file, written=file.exists(), quiet=as_json)


def _say_what_to_do(recommended: bool, numbers: Path, file: Path, *, written: bool, quiet: bool) -> None:
    """Recommend the weights, or equal ones: on stderr where stdout is JSON."""
    if not quiet:
        click.echo(f"\nsaved {numbers}")
    if recommended:
        click.echo(f"use them: morlaif run CONFIG {file}", err=quiet)
        return
    rest = f"{file} holds them all the same" if written else "no YAML is written (--out FILE writes it all the same)"
    click.echo(
        "not recommended: the fitted weights predict the held-out choices worse than equal ones do. Keep equal weights, or "
        f"fit on more choices (--pairs, prompts.rl); {rest}",
        err=quiet,
    )


def _choices(bench: Any, names: Sequence[str], most: int) -> tuple[Choices, dict[str, Any]]:
    """Score what people chose between, and say what is left out since a score failed.

    Raises `UserError` where there is nothing to learn from.
    """
    from ..failed import failed_rows
    from .choices import Choices, draw

    if not names:
        raise UserError(
            "every active principle has the judge 'human' and learns from the same labels; add one that a judge labels"
        )
    labels = draw(bench.preferences(SETS), most)
    if not labels:
        raise UserError(
            f"the data set '{bench.settings.dataset.use}' has no human labels on the prompts of {', '.join(SETS)}; take one "
            "that has (hh-rlhf, or `preferences` with your own file), or set the weights by hand under `principles`"
        )
    choices = Choices(_differences(bench, labels, names), _p_a(labels), tuple(item.prompt.id for item in labels))
    rows, by = failed_rows(choices.differences, names, "human choices")
    failed = {"choices": int(rows.sum()), "principles": by}
    return choices.rows((~rows).nonzero()[0]), failed


def _differences(bench: Any, labels: Sequence[Preference], names: Sequence[str]) -> Any:
    """Return the calibrated score of a minus that of b (m, k) in float64, NaN where one of them failed."""
    import numpy as np

    parts = []
    with bench.bar("scores") as bar:
        for start in range(0, len(labels), ROWS):
            some = labels[start : start + ROWS]
            prompts = [item.prompt for item in some]
            scores = bench.scores(prompts + prompts, [item.a for item in some] + [item.b for item in some])
            places = [scores.principles.index(name) for name in names]
            values = scores.values[:, places].astype(np.float64)
            parts.append(values[: len(some)] - values[len(some) :])
            bar(start + len(some), len(labels))
    return np.concatenate(parts)


def _p_a(labels: Sequence[Preference]) -> Any:
    import numpy as np

    return np.array([item.p_a for item in labels], dtype=np.float64)


def _own_weights(terms: dict[str, Any], names: Sequence[str]) -> Any:
    """Return the run's weights of the fitted principles, None where all of them are 0."""
    import numpy as np

    weights = np.array([terms[name]["weight"] for name in names], dtype=np.float64)
    return weights / weights.sum() if weights.any() else None
