"""Evaluation by itself: a row for each prompt, and more prompts that redo nothing else and pay for nothing twice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from morlaif_core import load_run
from morlaif_core.runs.folder import read_jsonl
from tests.helpers.small_run import PRINCIPLES, ledger_rows, small


def rows_of(run: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(run / "evaluation.jsonl"))


def test_a_row_has_what_the_results_are_made_of(finished: Path) -> None:
    rows, results = rows_of(finished), load_run(finished).results
    assert [row["prompt_id"] for row in rows] == load_run(finished).manifest["prompt_sets"]["evaluation"]
    for row in rows:
        assert list(row) == ["prompt_id", "prompt", "reference", "before", "after", "ended", "principles"]
        assert row["prompt"][-1]["role"] == "user"
        assert set(row["ended"]) == {"reference", "before", "after"}
        for of in row["principles"].values():
            for when in ("before", "after"):
                equal = row[when] == row["reference"]
                assert (of[f"status_{when}"] == "equal") == equal
                assert of[f"p_{when}"] == 0.5 if equal else 0 <= of[f"p_{when}"] <= 1
    for name, block in results["policy"].items():
        assert name in PRINCIPLES
        of = [row["principles"][name] for row in rows]
        for when in ("before", "after"):
            assert mean(row[f"p_{when}"] for row in of) == pytest.approx(block[f"judge_{when}"])
            assert mean(row[f"pm_{when}"] for row in of) == pytest.approx(block[f"pm_{when}"], abs=1e-5)
    assert mean(len(row["after"].split()) for row in rows) == pytest.approx(results["length"]["after"])


def test_what_people_judge_was_not_asked(tmp_path: Path) -> None:
    small(tmp_path / "run", "principles.detail.judge=human", "pairs.source=dataset")
    for row in rows_of(tmp_path / "run"):
        of = row["principles"]["detail"]
        assert of["p_before"] is of["p_after"] is None
        assert {of["status_before"], of["status_after"]} == {"not_asked"}
        assert isinstance(of["pm_after"], float)


def test_more_evaluation_prompts_redo_evaluation_alone(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = untouched(run)
    small(run, "prompts.evaluation=12")
    assert untouched(run) == before
    ids = [row["prompt_id"] for row in rows_of(run)]
    assert len(ids) == 12
    assert ids[:8] == [row["prompt_id"] for row in rows_of(finished)]
    (away,) = run.glob("replaced/*")
    assert {path.name for path in away.iterdir() if "evaluation" not in path.name} <= {
        "run.yaml",
        "results.json",
        "manifest.json",
    }


def untouched(run: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file that is no part of evaluation."""
    kept = [run / "pairs.jsonl", run / "preferences.jsonl"]
    kept += [path for folder in ("preference_models", "policy") for path in (run / folder).rglob("*") if path.is_file()]
    return {str(file): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns) for file in kept}


def test_answers_that_were_judged_are_not_paid_for_again(tmp_path: Path) -> None:
    """The first whole chunks of 32 prompts are the same in a larger set."""
    sets = ("dataset.prompts=500", "prompts.evaluation=32")
    run = small(tmp_path / "run", *sets).folder
    first, paid = rows_of(run), sum(ledger_rows(run).values())
    small(run, *sets, "prompts.evaluation=40")
    second = rows_of(run)
    texts = ("reference", "before", "after", "principles")
    assert [[row[key] for key in texts[:3]] for row in second[:32]] == [
        [row[key] for key in texts[:3]] for row in first
    ]
    assert sum(ledger_rows(run).values()) - paid <= 8 * 2 * 2 * len(PRINCIPLES)
