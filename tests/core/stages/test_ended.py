"""Whether a response ended travels from sampling through the files to the results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

from morlaif_core import CutOff, Message, Preference, ended, load_run, make_pair, make_prompt
from morlaif_core.runs.folder import read_jsonl
from morlaif_core.stages.judge import labels_hash
from morlaif_core.stages.pairs import StoredPair, pair_row, read_pairs


def test_what_was_cut_off_is_so_after_reading(tmp_path: Path) -> None:
    pair = make_pair(make_prompt([Message("user", "Hi")]), CutOff("Good day to"), "Hello!")
    rows = [pair_row(StoredPair("pm", pair)), pair_row(StoredPair("pm", replace(pair, a="Good day to")))]
    old = {key: value for key, value in rows[0].items() if key != "ended"}
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, old])
    (tmp_path / "pairs.jsonl").write_text(lines, encoding="utf-8")
    read = [item.pair for item in read_pairs(tmp_path)]
    # A run of an earlier version does not know: its responses are taken as they were then.
    assert [(ended(one.a), ended(one.b)) for one in read] == [(False, True), (True, True), (True, True)]
    assert read == [pair] * 3


def test_a_preference_model_is_trained_anew_where_its_responses_are_known_to_be_cut_off() -> None:
    prompt = make_prompt([Message("user", "Hi")])
    cut, whole = (Preference(prompt, "Hello!", text, 1.0) for text in (CutOff("Good day to"), "Good day to"))
    assert labels_hash([cut]) != labels_hash([whole])


def test_results_count_the_answers_that_ended(finished: Path) -> None:
    stored = [item.pair for item in load_run(finished).pairs() if item.set == "evaluation"]
    after = [row["ended"] for row in read_jsonl(finished / "evaluation.jsonl")]
    share = load_run(finished).results["ended"]
    assert share == {"before": mean(ended(pair.b) for pair in stored), "after": mean(after)}
    # The tiny model speaks to the limit of 16 tokens now and then, or the test would see nothing.
    assert not all(ended(text) for item in load_run(finished).pairs() for text in (item.pair.a, item.pair.b))
