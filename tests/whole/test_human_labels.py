"""Labels per principle, through a whole run: two principles that people judged, each with its own column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import Message, Preference, UserError, load_run, make_prompt, run
from morlaif_core.config.load import load_config
from morlaif_core.runs.stamps import stable
from morlaif_core.stages.pairs import read_pairs
from morlaif_core.stages.train_pms import all_labels, human_labels
from tests.helpers.small_run import SETS

LABELS = "{helpfulness: better_response_id, conciseness: safer_response_id}"
PRINCIPLES = "{helpfulness: {judge: human}, conciseness: {judge: human}, detail: {judge: rules}}"
WORDS = ("walk", "feed", "call", "draw", "wash", "find", "lift", "hide", "read", "cook")


def _file(folder: Path) -> Path:
    """PKU-SafeRLHF's columns: the long answer is the better one, the one that warns is the safer one."""
    file = folder / "rows.jsonl"
    rows = []
    for n in range(90):
        prompt = f"How do I {WORDS[n % 10]} {WORDS[n // 10]} dogs at {n} o'clock?"
        long, short = f"First look, then {WORDS[n % 10]} them with great care and time.", "Just do it."
        warns, other = (long, short) if n % 2 else (short, long)
        texts = {warns: f"{warns} Take care.", other: other}
        both = (texts[long], texts[short]) if n % 3 else (texts[short], texts[long])
        safer, better = both.index(texts[warns]), both.index(texts[long])
        ids = {"better_response_id": better, "safer_response_id": None if n == 7 else safer}
        rows.append({"prompt": prompt, "response_0": both[0], "response_1": both[1], **ids})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def _run(out: Path, file: Path, *more: str, labels: str = LABELS, **keywords: Any) -> Any:
    # The demo's own options of its data set and its principles give way.
    small = [text for text in SETS if not text.startswith(("dataset", "principles"))]
    data = f"dataset={{use: preferences, path: {file}, held_out: 0.15, labels: {labels}}}"
    sets = (f"principles={PRINCIPLES}", *small, data, *more)
    return run("demo", out=out, sets=sets, quiet=True, **keywords)


def test_two_principles_learn_from_two_columns(tmp_path: Path) -> None:
    file = _file(tmp_path)
    found = _run(tmp_path / "run", file, "pairs.source=dataset")
    context = found.context()
    stored = read_pairs(tmp_path / "run")
    labels = all_labels(context, stored)["pm"]
    for row in labels["helpfulness"]:
        assert row.p_a == ("great care" in row.a)
    for row in labels["conciseness"]:
        assert row.p_a == ("Take care" in row.a)
    given = [item.pair for item in stored if item.pair.labels]
    assert {item.set for item in stored if item.pair.labels} == {"pm", "validation"}
    for pair in given:
        assert pair.human == ("great care" in pair.a) == pair.labels["helpfulness"]
        assert pair.labels["conciseness"] in (None, float("Take care" in pair.a))
    for name in ("helpfulness", "conciseness"):
        assert found.results["judge"][name]["n"] is None
        assert found.results["preference_models"][name]["n"] > 0
    assert found.results["policy"]["detail"]["win_rate"] is not None
    prints = load_run(tmp_path / "run").manifest["stages"]
    _run(tmp_path / "run", file, "pairs.source=dataset")
    assert load_run(tmp_path / "run").manifest["stages"] == prints


def test_a_judge_is_held_against_the_labels_of_its_principle(tmp_path: Path) -> None:
    more = ("principles={detail: {judge: rules}, helpfulness: {judge: rules}}", "pairs.source=dataset")
    own = _run(tmp_path / "own", _file(tmp_path), *more, labels="{detail: safer_response_id}", until="judge")
    none = _run(tmp_path / "none", _file(tmp_path), *more, labels="{}", until="judge")
    overall, under = (found.results["judge"]["detail"]["agreement_with_human"]["mean"] for found in (none, own))
    # The rules' detail is length, and so is what people called better, but not what they called safer.
    assert overall == 1.0
    assert 0.2 < under < 0.8
    assert own.results["judge"]["helpfulness"] == none.results["judge"]["helpfulness"]


@pytest.mark.parametrize(
    ("labels", "more", "says"),
    [
        ("{conciseness: safer}", (), r"rows\.jsonl:1: no key 'safer' \(the record has: prompt, response_0"),
        ("{concisenes: safer_response_id}", (), r"the principle 'concisenes', which there is not\. Did you mean"),
    ],
)
def test_labels_that_are_not_there_are_told_before_anything_is_made(
    tmp_path: Path, labels: str, more: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        _run(tmp_path / "run", _file(tmp_path), *more, labels=labels)
    assert not (tmp_path / "run" / "pairs.jsonl").exists()


def test_a_file_without_labels_for_a_human_judge_is_told_with_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Why {n}?", "answer_a": "x", "answer_b": "y", "preferred": "a"} for n in range(90)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    says = r"judge: human: the data set has no labels for it; left out: 90 .*\(answer_a, answer_b, preferred\)"
    with pytest.raises(UserError, match=says):
        _run(tmp_path / "run", file, labels="{}")


def test_an_option_that_came_later_leaves_older_runs_done(tmp_path: Path) -> None:
    config = load_config(["demo"], [f"dataset={{use: preferences, path: {_file(tmp_path)}}}"])
    options = config.plugins.options("dataset", config.block("dataset"))
    assert not {"labels", "label_column"} & set(stable(options))
    assert stable(options.model_copy(update={"labels": {"detail": "x"}}))["labels"] == {"detail": "x"}


def test_ties_and_equal_answers_of_people_are_read_like_a_judges() -> None:
    prompt = make_prompt([Message("user", "q")])
    rows = [
        Preference(prompt, "one", "two", 0.5),
        Preference(prompt, "one", "two", 1.0, {"my_own": 0.0, "other": None}),
        Preference(prompt, "one", "one", 1.0),
    ]
    assert [row.p_a for row in human_labels(rows, "my-own", "half")] == [0.5, 0.0]
    assert [row.p_a for row in human_labels(rows, "my-own", "drop")] == [0.0]
    assert [row.p_a for row in human_labels(rows, "other", "half")] == [0.5]
    assert [row.p_a for row in human_labels(rows, "third", "half")] == [0.5, 1.0]
