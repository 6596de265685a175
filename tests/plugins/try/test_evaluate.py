"""`morlaif evaluate` on other prompts: with the run's judges and models, in a folder of its own, and nothing paid twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import build, load_run
from morlaif_core.cli.main import cli, guarded
from morlaif_core.plugins.manager import Plugins
from morlaif_core.runs.folder import read_jsonl
from tests.helpers.small_run import PRINCIPLES, ledger_rows, small

QUESTIONS = ["How do I bake bread?", "Why is the sky blue?", "What is a fern?", "How do I calm dogs?"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def data(run: Path, tmp_path: Path) -> Path:
    """New questions, one of them twice, and one that a preference model learned from."""
    learned = next(item.pair.prompt.messages for item in load_run(run).pairs() if item.set == "pm")
    rows: list[Any] = [*QUESTIONS, QUESTIONS[0], [{"role": turn.role, "content": turn.content} for turn in learned]]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"prompt": row}) + "\n" for row in rows))
    return file


@pytest.fixture
def evaluated(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Call the command; returns what it prints as JSON, or its error."""

    def called(*options: str, code: int = 0) -> Any:
        capsys.readouterr()
        arguments = ["evaluate", str(run), "--data", str(data), "--json", *options]
        assert guarded(lambda: cli(arguments, standalone_mode=False)) == code
        out, err = capsys.readouterr()
        return err if code else json.loads(out)

    return called


def test_the_policy_on_a_file(run: Path, evaluated: Callable[..., Any]) -> None:
    before, paid = {**load_run(run).results}, ledger_rows(run)
    files = {
        file: file.stat().st_mtime_ns
        for file in run.glob("*.json*")
        if file.name not in ("results.json", "manifest.json")
    }
    found = evaluated()
    assert (found["prompts"], found["model"]) == (4, "policy")
    assert found["left_out"] == {"repeated prompts": 1, "the run learned from them": 1}
    assert set(found["policy"]) == set(PRINCIPLES)
    folder = run / "evaluations" / "mine"
    kept = json.loads((folder / "evaluation.json").read_text())
    assert {**kept, "left_out": None} == {**found, "left_out": None}
    rows = list(read_jsonl(folder / "evaluation.jsonl"))
    assert {row["prompt"][-1]["content"] for row in rows} == set(QUESTIONS)
    assert load_run(run).results == before, "the run's own numbers stay"
    assert {file: file.stat().st_mtime_ns for file in files} == files
    asked = ledger_rows(run)
    assert all(asked[name] > paid[name] for name in PRINCIPLES)
    texts = (folder / "evaluation.jsonl").read_bytes()
    assert evaluated() == found
    assert ledger_rows(run) == asked
    assert (folder / "evaluation.jsonl").read_bytes() == texts
    small(run)
    assert (folder / "evaluation.json").exists(), "the run itself has nothing to do with it"


def test_fewer_prompts_under_one_name_replace_what_was_there(run: Path, evaluated: Callable[..., Any]) -> None:
    evaluated()
    found = evaluated("--prompts", "2")
    assert (found["prompts"], found["left_out"]["not drawn"]) == (2, 2)
    assert len(list(read_jsonl(run / "evaluations" / "mine" / "evaluation.jsonl"))) == 2
    (old,) = run.glob("replaced/*/evaluations/mine/evaluation.jsonl")
    assert len(list(read_jsonl(old))) == 4


def test_another_model_in_place_of_the_policy(run: Path, evaluated: Callable[..., Any]) -> None:
    base = load_run(run).manifest["models"]["target"]["resolved"]
    found = evaluated("--model", base, "--out", "untrained")
    assert found["model"] == base
    assert (run / "evaluations" / "untrained" / "evaluation.jsonl").exists()
    shutil.rmtree(run / "policy")  # it is not asked
    assert evaluated("--model", base, "--out", "untrained") == found


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--model", "nowhere"], "there is no model folder nowhere"),
        (["--out", "../up"], "cannot name an evaluation"),
        (["--data", "other.jsonl"], "no such file"),
        (["--data", "dmo"], "Did you mean 'demo'"),
    ],
)
def test_what_is_wrong_is_said(evaluated: Callable[..., Any], options: list[str], advice: str) -> None:
    assert advice in evaluated(*options, code=2)


def test_a_file_is_read_with_all_options_that_a_run_has_for_its_own(tmp_path: Path) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text("".join(json.dumps({"question": text}) + "\n" for text in QUESTIONS))
    # All of them stand in run.yaml, and one is called as an argument of `build` is.
    given = {"path": str(file), "prompt_column": "question"}
    block = Plugins.load().find("dataset", "preferences").options(**given).model_dump()
    found = build("dataset", "preferences", **block)
    asked = [*found.prompts("train"), *found.prompts("test")]
    assert sorted(item.messages[0].content for item in asked) == sorted(QUESTIONS)


def test_a_data_set_by_name_and_the_table(
    run: Path, evaluated: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(run), "--data", "demo", "--prompts", "5"]
    assert guarded(lambda: cli(arguments, standalone_mode=False)) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 prompts of demo")
    assert "overall win rate" in out
    assert all(name in out for name in PRINCIPLES)
    assert out.splitlines()[-1] == f"evaluation folder: {run}/evaluations/demo"
