"""Whether a response ended travels from sampling through the files to the results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from morlaif_core import CutOff, Message, Preference, ended, load_run, make_pair, make_prompt
from morlaif_core.runs.folder import read_jsonl
from morlaif_core.stages.judge import labels_hash
from morlaif_core.stages.pairs import StoredPair, pair_row, read_pairs
from morlaif_core.stages.train_pms import calibration_responses
from morlaif_core.stages.train_policy import _reference_ended


def test_what_was_cut_off_is_so_after_reading(tmp_path: Path) -> None:
    pair = make_pair(make_prompt([Message("user", "Hi")]), CutOff("Good day to"), "Hello!")
    rows = [pair_row(StoredPair("pm", pair)), pair_row(StoredPair("pm", replace(pair, a="Good day to")))]
    old = {key: value for key, value in rows[0].items() if key != "ended"}
    assert ends_of(tmp_path, rows) == [(False, True), (True, True)]
    # A run of an earlier version does not know, nor does one that was begun by it: all are taken as they were then.
    assert ends_of(tmp_path, [*rows, old]) == [(True, True)] * 3
    assert [item.pair for item in read_pairs(tmp_path)] == [pair] * 3


def ends_of(folder: Path, rows: Sequence[dict[str, Any]]) -> list[tuple[bool, bool]]:
    """Which responses of these rows ended, as a stage reads them."""
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [(ended(item.pair.a), ended(item.pair.b)) for item in read_pairs(folder)]


def test_a_preference_model_is_trained_anew_where_its_responses_are_known_to_be_cut_off() -> None:
    prompt = make_prompt([Message("user", "Hi")])
    cut, whole = (Preference(prompt, "Hello!", text, 1.0) for text in (CutOff("Good day to"), "Good day to"))
    assert labels_hash([cut]) != labels_hash([whole])


def test_results_count_the_answers_that_ended(finished: Path) -> None:
    rows = [row["ended"] for row in read_jsonl(finished / "evaluation.jsonl")]
    assert load_run(finished).results["ended"] == {
        when: mean(row[when] for row in rows) for when in ("before", "after")
    }
    # The tiny model speaks to the limit of 16 tokens now and then, or the test would see nothing.
    assert not all(ended(text) for item in load_run(finished).pairs() for text in (item.pair.a, item.pair.b))


def test_each_response_of_the_untrained_model_counts_for_the_share_that_ended(finished: Path, tmp_path: Path) -> None:
    """Also those whose text another one has: the short ones, which end."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    rows = list(read_jsonl(run / "pairs.jsonl"))
    calibration = [row for row in rows if row["set"] == "calibration"]
    for row in calibration[1:]:
        row.update(a=calibration[0]["a"], b=calibration[0]["a"], ended=[True, True], prompt=calibration[0]["prompt"])
        row["prompt_id"] = calibration[0]["prompt_id"]
    calibration[0]["ended"] = [True, False]
    (run / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    context = load_run(run).context()
    n = len(calibration)
    assert _reference_ended(context) == pytest.approx((2 * n - 1) / (2 * n))
    for row in rows:
        del row["ended"]
    (run / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert _reference_ended(context) is None


def test_the_share_that_ended_before_training_is_in_the_results(finished: Path) -> None:
    stored = [item.pair for item in load_run(finished).pairs() if item.set == "calibration"]
    share = mean(ended(text) for pair in stored for text in (pair.a, pair.b))
    assert load_run(finished).results["reference_ended"] == share < 1
    row = json.loads((finished / "policy" / "metrics.jsonl").read_text().splitlines()[0])
    assert row["missing_eos_penalty"] == 0.5 * share


def test_a_text_that_ended_and_the_same_cut_off_are_scored_apart() -> None:
    prompt = make_prompt([Message("user", "Hi")])
    pair = make_pair(prompt, CutOff("Good day"), "Good day")
    _, texts = calibration_responses([StoredPair("calibration", pair)])
    assert [ended(text) for text in texts] == [False, True]
