"""Runs that earlier code made still load, score, answer and go on; and nothing is bought or made again."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morlaif_core import Message, load_run, make_prompt, run
from tests.helpers.small_run import final_files, ledger_rows

KEPT = Path(__file__).parents[1] / "data" / "kept_runs.tar.gz"
"""Written by the code of 2026-11-29, before the packages were arranged anew: `finished` (LoRA preference models and policy,
lexicographic, schedules, expected utility), `interrupted` (judged, nothing trained), the base model that both began with,
and expected.json: what that code said of `finished`, and what came of `interrupted`."""
SINCE = (
    "reward.calibrate=platt",
    "trainer.missing_eos_penalty=0.0",
    "trainer.value_clip=0.2",
    "trainer.value_learning_rate=0.001",
)
"""Defaults that have changed since, as they were."""
QUESTIONS = ("How do I bake bread?", "Why is the sky blue?")
ANSWERS = ("Mix flour and water, then bake it.", "I do not know.")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs, and the cache with their base model."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def expected(kept: Path) -> Any:
    return json.loads((kept / "expected.json").read_text(encoding="utf-8"))


def same_kernels(expected: Any) -> bool:
    """Another library or processor may round differently."""
    return (torch.__version__, torch.backends.cpu.get_cpu_capability()) == (expected["torch"], expected["cpu"])


def assert_scores(folder: Path, wanted: Any, *, exact: bool) -> None:
    prompts = [make_prompt([Message("user", question)]) for question in QUESTIONS for _ in ANSWERS]
    batch = load_run(folder).reward()(prompts, [answer for _ in QUESTIONS for answer in ANSWERS])
    assert list(batch.scores.principles) == wanted["principles"]
    for found, said in ((batch.scores.values, wanted["scores"]), (batch.rewards, wanted["rewards"])):
        numbers = np.vectorize(float.fromhex, otypes=[np.float32])(np.array(said))
        if exact:
            np.testing.assert_array_equal(found, numbers)
        np.testing.assert_allclose(found, numbers, atol=1e-4)


def test_a_finished_run_loads_scores_and_answers_as_before(kept: Path, expected: Any) -> None:
    folder, wanted = kept / "finished", expected["finished"]
    assert load_run(folder).results == wanted["results"]
    assert_scores(folder, wanted, exact=same_kernels(expected))
    if same_kernels(expected):
        prompts = [make_prompt([Message("user", question)]) for question in QUESTIONS]
        before, after = load_run(folder).generate(prompts, n=2, seed=3)
        assert [list(texts) for texts in before] == wanted["before"]
        assert [list(texts) for texts in after] == wanted["after"]


def test_a_finished_run_has_nothing_to_do(
    kept: Path, expected: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept)
    run("demo", out="finished", sets=[*SINCE, *expected["finished"]["sets"]])
    assert "nothing to do" in capsys.readouterr().out
    assert final_files(Path("finished")) == expected["finished"]["files"]


def test_a_policy_trained_anew_has_the_reward_of_then(
    kept: Path, expected: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its preference models have only read responses with an end: those that are cut off now are not told apart."""
    monkeypatch.chdir(kept)
    then = first_reward(kept / "finished")
    run("demo", out="finished", sets=[*SINCE, *expected["finished"]["sets"], "trainer.missing_eos_penalty=0.1"])
    assert first_reward(kept / "finished") == pytest.approx(then, abs=0.05)
    assert "does not say which of its responses ended" in capsys.readouterr().out
    assert load_run(kept / "finished").results["ended"]["before"] is None


def first_reward(folder: Path) -> float:
    """Of the first step, whose policy is the untrained one."""
    lines = (folder / "policy" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[0])["reward"])


def test_an_interrupted_run_goes_on(kept: Path, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = expected["interrupted"]
    monkeypatch.chdir(kept)
    bought = (kept / "interrupted" / "preferences.jsonl").read_bytes()
    assert ledger_rows(kept / "interrupted") == wanted["rows"]
    run("demo", out="interrupted", sets=[*SINCE, *wanted["sets"]], quiet=True)
    assert (kept / "interrupted" / "preferences.jsonl").read_bytes() == bought
    assert ledger_rows(kept / "interrupted") == wanted["rows_after"]
    assert not (kept / "interrupted" / "replaced").exists()
    if same_kernels(expected):
        # All but the policy, trained on today's reward: the zero has moved, and what was cut off is scored as such.
        found, files = final_files(kept / "interrupted"), wanted["files"]
        trained = {name for name in files if name.startswith("policy/") or name == "evaluation.jsonl"}
        assert {name: found[name] for name in files.keys() - trained} == {
            name: files[name] for name in files.keys() - trained
        }
        assert found.keys() == files.keys()
    # Whether the answers of then ended was not stored, and is not made up.
    assert load_run(kept / "interrupted").results["ended"]["before"] is None
