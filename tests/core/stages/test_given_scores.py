"""Principles whose scores are given: nobody is asked about them but in the evaluation, and `judge: none` spares that too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import UserError, load_run, open_judges
from morlaif_core.stages.pm_accuracy import at_chance
from morlaif_estimate.estimate import estimate
from tests.helpers.small_run import PRINCIPLES, SETS, ledger_rows, small

GIVEN = "principles.detail.preference_model={use: direct, measure: richness}"
BREVITY = "principles.brief={judge: none, preference_model: {use: direct, measure: brevity}}"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a judged principle, one whose scores are given and judged at the end, and one that nobody judges."""
    run = tmp_path_factory.mktemp("given") / "run"
    small(run, GIVEN, BREVITY)
    return run


def expected(*sets: str, out: Path) -> dict[str, Any]:
    with open_judges(["demo"], (*SETS, *sets), out, hold=False, quiet=True) as bench:
        return estimate(bench)


def test_nobody_is_asked_before_the_evaluation(given: Path) -> None:
    rows = [json.loads(line)["principle"] for line in (given / "preferences.jsonl").read_text().splitlines()]
    assert set(rows) == {"helpfulness", "conciseness"}
    results = load_run(given).results
    assert {name: block["n"] is None for name, block in results["judge"].items()} == {
        "helpfulness": False,
        "conciseness": False,
        "detail": True,
        "brief": True,
    }
    assert "given" in results["judge"]["detail"]["notes"]["n"]
    counts = ledger_rows(given)
    assert 0 < counts["detail"] < counts["helpfulness"], "the evaluation's alone"
    assert "brief" not in counts


def test_accuracies_and_win_rates_count_what_was_judged(given: Path) -> None:
    results = load_run(given).results
    models, policy = results["preference_models"], results["policy"]
    for name in ("detail", "brief"):
        assert models[name]["n"] is None
        assert models[name]["accuracy"] is None
        assert name not in at_chance(models)
    assert policy["detail"]["win_rate"] is not None
    assert policy["brief"]["win_rate"] is None
    assert policy["brief"]["pm_after"] is not None
    assert "judge: none" in policy["brief"]["notes"]["judge_before"]
    judged = [policy[name]["win_rate"] for name in PRINCIPLES]
    assert results["win_rate"]["overall"] == pytest.approx(sum(judged) / 3)


def test_scores_are_the_measures_in_one_unit_with_the_others(given: Path) -> None:
    calibration = json.loads((given / "preference_models" / "calibration.json").read_text())
    assert list(calibration["principles"]) == [*PRINCIPLES, "brief"]
    batch = load_run(given).reward()(["Why do cats purr?"] * 2, ["They are content when they purr.", "No."])
    assert batch.raw is not None
    assert batch.raw.values[1, 3] > batch.raw.values[0, 3] - 1e-6
    assert batch.raw.values[0, 2] > batch.raw.values[1, 2]


def test_the_estimate_is_what_the_ledger_has(given: Path, tmp_path: Path) -> None:
    """Foreseen from nothing, responses being all different; of the run itself, nothing is left to ask."""
    sets = (GIVEN, BREVITY)
    small(tmp_path / "run", *sets, until="sample")
    rows = {row["stage"]: row["requests"] for row in expected(*sets, out=tmp_path / "run")["rows"]}
    small(tmp_path / "run", *sets, until="judge")
    assert sum(ledger_rows(tmp_path / "run").values()) == rows["judge"]
    assert set(ledger_rows(tmp_path / "run")) == {"helpfulness", "conciseness"}
    rest = expected(*sets, out=given)["total"]
    assert rest["requests"] == 0
    assert rest["answered_before"] == sum(ledger_rows(given).values())


def test_another_judge_of_a_given_principle_is_asked_by_the_evaluation_alone(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(given, tmp_path / "run"))
    from morlaif_core import run as run_pipeline

    run_pipeline("demo", out=run, sets=(*SETS, GIVEN, BREVITY, "principles.detail.judge=none"))
    said = capsys.readouterr().out
    assert "already done: sample, judge, train-pms, train-policy" in said
    assert load_run(run).results["policy"]["detail"]["win_rate"] is None


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["principles.detail.judge=none"], r"principles\.detail\.judge: none: the preference model 'full' learns"),
        (["principles.wit={preference_model: {use: direct, measure: flattery}}"], r"no principle 'wit'"),
        (
            ["principles.factuality={preference_model: {use: direct, measure: flattery}}"],
            r"refuses it.*principles\.factuality\.judge may be none",
        ),
        (["evaluation.judge=none"], r"evaluation\.judge: none"),
        (["judges.none={use: rules}"], r"judges\.none: the name is reserved"),
        (["judges.both={panel: [rules, none]}"], r"'none' says that nobody judges"),
        (
            ["principles.detail.preference_model={use: direct, measure: brevty}"],
            r"principles\.detail\.preference_model\.measure.*Did you mean 'brevity'",
        ),
        (["principles.detail.preference_model=direct"], r"principles\.detail\.preference_model\.measure"),
    ],
)
def test_mistakes_say_what_to_do(tmp_path: Path, sets: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        small(tmp_path / "run", *sets)


def test_a_run_of_given_scores_alone_asks_nobody(tmp_path: Path) -> None:
    run = small(
        tmp_path / "run",
        "principles={brief: {judge: none}}",
        "preference_model={use: direct, measure: brevity}",
    )
    assert run.results["win_rate"]["overall"] is None
    assert not (tmp_path / "run" / "judgements.sqlite").exists() or not ledger_rows(tmp_path / "run")
