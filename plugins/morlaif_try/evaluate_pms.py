"""The command `evaluate-pms`."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from morlaif_core import (
    Preference,
    UserError,
    Workbench,
    format_interval,
    format_number,
    load_run,
    number_prompts,
    print_json,
    print_table,
    share_figure,
)

from .data import opened

ALL, COMBINED = "all", "combined"


@click.command("evaluate-pms")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="FILE|NAME", help="Labelled pairs: a file, or a data set.")
@click.option("--by", metavar="COLUMN", help="A row for each value of this column too (JSON lines), such as subset.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_pms(run: Path, data: str, by: str | None, as_json: bool) -> None:
    """Say how often a run's preference models agree with the labels of any pairs.

    Pairs are read in every layout that data sets have. A pair counts for a principle with the principle's own label where
    it has one, else with the pair's; ties are left out. `combined` is the mean of the principles' calibrated scores by
    their weights. Accuracy has Wilson's 95 % interval over prompts.
    """
    with load_run(run).workbench() as bench, _files(data, by) as files:
        found = {name: _measured(bench, *_labelled(bench, file, whole=name == ALL)) for name, file in files.items()}
    if as_json:
        print_json({"subsets": found} if by else found[ALL])
        return
    for name, blocks in found.items():
        left = ", ".join(f"{count:,} {why}" for why, count in blocks["left_out"].items())
        click.echo(f"{name}: {blocks['pairs']:,} pairs{f' (left out: {left})' if left else ''}")
    rows = [
        [name, principle, str(block["n"]), format_number(block["accuracy"]), format_interval(block["ci95"])]
        for name, blocks in found.items()
        for principle, block in blocks["accuracy"].items()
    ]
    print_table(["subset", "principle", "pairs with a winner", "accuracy", "95 % interval"], rows)


@contextmanager
def _files(data: str, by: str | None) -> Iterator[dict[str, str]]:
    """Name what is read: all of the data and, with ``by``, the rows of each value, in files of their own."""
    if by is None:
        yield {ALL: data}
        return
    parts: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(Path(data).expanduser()), 1):
        try:
            value = json.loads(line)[by]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{data}, line {number}: --by {by}: no such key in a JSON object ({error!r})") from None
        parts.setdefault(str(value), []).append(line)
    if ALL in parts:
        raise UserError(f"{data}: --by {by}: one value is {ALL!r}, as the whole is called; rename it in the file")
    with tempfile.TemporaryDirectory() as folder:
        found = {ALL: data}
        for place, (value, lines) in enumerate(parts.items()):
            file = Path(folder) / f"{place}.jsonl"
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            found[value] = str(file)
        yield found


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; --by reads JSON lines")
    try:
        held = file.read_bytes()
        text = (gzip.decompress(held) if file.suffix == ".gz" else held).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as JSON lines in UTF-8 ({error})") from error
    # Not splitlines: it breaks at U+2028 and U+0085 too, which may stand within a JSON text.
    return [line for line in text.split("\n") if line.strip()]


def _labelled(bench: Workbench, data: str, whole: bool) -> tuple[list[Preference], Mapping[str, int]]:
    """All labelled pairs of a file, or of a data set, and what was left out.

    Raises `UserError` where the whole has none; a subset without pairs must not take the others' figures along.
    """
    dataset, _ = opened(bench, data)
    labelled = [*dataset.preferences("train"), *dataset.preferences("test")]
    pairs = [item for item in labelled if item.a != item.b]
    if not pairs and whole:
        raise UserError(f"{data}: no labelled pairs; its rows need two responses and which one is better")
    return pairs, dataset.skipped


def _measured(bench: Workbench, pairs: Sequence[Preference], skipped: Mapping[str, int]) -> dict[str, Any]:
    """Score all responses once; accuracy under each principle, and of the weighted mean."""
    import numpy as np

    if not pairs:
        return {"pairs": 0, "left_out": dict(skipped), "accuracy": {}}
    prompts = [item.prompt for item in pairs for _ in "ab"]
    scores = bench.scores(prompts, [text for item in pairs for text in (item.a, item.b)])
    difference = scores.values[0::2].astype(np.float64) - scores.values[1::2]
    weight = np.array([bench.settings.principles[name].weight for name in scores.principles], dtype=np.float64)
    accuracy = {name: _accuracy(difference[:, column], pairs, name) for column, name in enumerate(scores.principles)}
    accuracy[COMBINED] = _accuracy(difference @ (weight / weight.sum()), pairs, None)
    return {"pairs": len(pairs), "left_out": dict(skipped), "accuracy": accuracy}


def _accuracy(difference: Any, pairs: Sequence[Preference], principle: str | None) -> dict[str, Any]:
    """Share of the pairs whose better response scores higher, equal scores half.

    difference: (m,), NaN where a score failed. principle: whose labels count; None: the pairs' own.
    """
    import numpy as np

    labels = np.array([np.nan if (p := _label(item, principle)) is None else p for item in pairs])
    rows = np.flatnonzero(~np.isnan(labels) & (labels != 0.5) & ~np.isnan(difference)).tolist()
    if not len(rows):
        return {"n": 0, "accuracy": None, "ci95": None}
    right = (np.sign(difference[rows]) * np.sign(labels[rows] - 0.5) + 1) / 2
    figure = share_figure(right, number_prompts([pairs[row].prompt.id for row in rows]))
    return {"n": len(rows), "accuracy": figure.mean, "ci95": figure.ci95}


def _label(item: Preference, principle: str | None) -> float | None:
    return item.p_a if principle is None or not item.labels else item.labels.get(principle, item.p_a)
