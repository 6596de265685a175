"""The whole pipeline, cut small and real: what is redone, what is kept, and what an interruption costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import Message, UserError, load_run, make_prompt, run as run_pipeline
from morlaif_core.runs.pace import Done
from morlaif_core.runs.progress import Bar, Screen
from tests.helpers.small_run import PRINCIPLES, SETS, final_files, ledger_rows, small

STAGES = ["sample", "judge", "train-pms", "train-policy", "evaluate"]
NEW = "understandability"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def done_stages(run: Path) -> list[str]:
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    return [name for name in STAGES if stages.get(name, {}).get("state") == "done"]


def times(run: Path) -> dict[str, int]:
    return {
        str(file.relative_to(run)): file.stat().st_mtime_ns
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in (".lock", "judgements.sqlite", "run.yaml", "manifest.json", "log.txt")
    }


def replaced(run: Path) -> set[str]:
    return {str(Path(*file.relative_to(run).parts[2:])) for file in run.glob("replaced/*/**/*") if file.is_file()}


def test_every_stage_leaves_its_files(finished: Path) -> None:
    assert done_stages(finished) == STAGES
    names = {str(file.relative_to(finished)) for file in finished.rglob("*")}
    assert {"run.yaml", "manifest.json", "pairs.jsonl", "judgements.sqlite", "preferences.jsonl"} <= names
    assert {"preference_models/calibration.json", "preference_models/reward.json", "evaluation.json"} <= names
    assert {"policy/metrics.jsonl", "policy/reward_state.json", "results.json"} <= names
    assert {f"preference_models/{name}/done.json" for name in PRINCIPLES} <= names
    assert not [name for name in names if name.startswith("replaced") or name.endswith(".tmp")]


def test_results_have_the_documented_keys(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert results == load_run(finished).results
    assert set(results) >= {
        "pairs",
        "judge",
        "preference_models",
        "policy",
        "win_rate",
        "length",
        "seconds",
        "cost_usd",
    }
    assert set(results["pairs"]) >= {"n", "identical"}
    assert results["pairs"]["n"] == 34
    for block in (results["judge"], results["preference_models"], results["policy"]):
        assert tuple(block) == PRINCIPLES
    assert set(results["judge"]["helpfulness"]) >= set(
        "n ok ties not_applicable refused off_label failed position_bias order_consistency agreement_with_human "
        "prefer_longer prefer_longer_human cost_usd".split()
    )
    assert set(results["preference_models"]["helpfulness"]) >= {"n", "accuracy", "ci95"}
    assert set(results["policy"]["helpfulness"]) >= set(
        "judge_before judge_after judge_difference judge_difference_ci95 judge_difference_ci95_adjusted judge_n "
        "pm_before pm_after pm_accuracy pm_majority pm_n win_rate win_rate_ci95 win_rate_ci95_adjusted n".split()
    )
    assert set(results["win_rate"]) >= {"overall", "ci95", "n"}
    assert set(results["length"]) >= {"before", "after"}
    assert set(results["ended"]) == {"before", "after"}
    assert list(results["seconds"]) == STAGES
    low, high = results["win_rate"]["ci95"]
    assert 0 <= low <= results["win_rate"]["overall"] <= high <= 1


def test_the_overall_win_rate_is_the_mean_of_the_principles(finished: Path) -> None:
    results = load_run(finished).results
    rates = [block["win_rate"] for block in results["policy"].values()]
    assert results["win_rate"]["overall"] == pytest.approx(np.mean(rates))


def test_the_manifests_prompt_sets_are_disjoint_and_pairs_name_theirs(finished: Path) -> None:
    manifest = load_run(finished).manifest
    sets = manifest["prompt_sets"]
    ids = [prompt for name in sets for prompt in sets[name]]
    assert len(ids) == len(set(ids)) == 24 + 10 + 16 + 8
    assert {name: len(found) for name, found in sets.items()} == {
        "pm": 18, "validation": 6, "calibration": 10, "rl": 16, "evaluation": 8
    }  # fmt: skip
    pairs = load_run(finished).pairs()
    assert len(pairs) == 34
    assert all(item.pair.prompt.id in sets[item.set] for item in pairs)
    assert {item.set for item in pairs} == {"pm", "validation", "calibration"}, "evaluate makes its own"
    assert set(manifest["versions"]) >= {"python", "morlaif", "torch"}


def test_preferences_are_sorted_and_hold_labels_alone(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "preferences.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [["pair", "principle", "p_a", "status"]] * len(rows)
    keys = [(row["pair"], row["principle"]) for row in rows]
    assert keys == sorted(set(keys))
    assert {row["status"] for row in rows} <= {"ok", "tie"}
    assert all(row["p_a"] == 0.5 for row in rows if row["status"] == "tie")
    assert {row["pair"] for row in rows} <= {item.pair.id for item in load_run(finished).pairs()}
    preferences = load_run(finished).preferences("helpfulness")
    assert len(preferences) == sum(row["principle"] == "helpfulness" for row in rows)
    with pytest.raises(UserError, match="no labels of 'wit'"):
        load_run(finished).preferences("wit")


def test_metrics_have_every_principle_at_every_step(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "policy" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    for name in PRINCIPLES:
        assert all(any(name in key for key in row) for row in rows), sorted(rows[0])


def test_the_same_again_does_nothing_and_is_quick(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, start = times(finished), time.monotonic()
    run_pipeline("demo", out=finished, sets=SETS)
    assert time.monotonic() - start < 30
    assert times(finished) == before
    assert "nothing to do" in capsys.readouterr().out


def test_what_only_changes_speed_redoes_nothing(copy: Path) -> None:
    before = times(copy)
    small(copy, "device=cpu", "threads=2", "judging.concurrency=3")
    assert times(copy) == before


def test_another_scalarizer_redoes_only_what_depends_on_it(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = times(copy)
    policy = (copy / "policy" / "model.safetensors").read_bytes()
    run_pipeline("demo", out=copy, sets=(*SETS, "scalarizer.use=max_min"))
    after = times(copy)
    kept = (
        "pairs.jsonl",
        "preferences.jsonl",
        *(name for name in before if name.endswith("/done.json") and "policy" not in name),
    )
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["preference_models/calibration.json"] == before["preference_models/calibration.json"]
    assert {"policy/model.safetensors", "preference_models/reward.json", "evaluation.json"} <= replaced(copy)
    assert not {"pairs.jsonl", "preferences.jsonl", "preference_models/calibration.json"} & replaced(copy)
    (old,) = copy.glob("replaced/*/policy/model.safetensors")
    assert old.read_bytes() == policy
    said = capsys.readouterr().out
    assert "already done: sample, judge, train-pms" in said
    assert "train-policy runs again (changed: scalarizer)" in said
    assert done_stages(copy) == STAGES
    assert "max_min" in (copy / "run.yaml").read_text()


def test_a_new_principle_is_asked_and_trained_alone(copy: Path) -> None:
    rows = ledger_rows(copy)
    before = {name: (copy / "preference_models" / name / "done.json").stat().st_mtime_ns for name in PRINCIPLES}
    small(copy, f"principles.{NEW}={{judge: rules}}", until="train-pms")
    now = ledger_rows(copy)
    assert {name: now[name] for name in rows} == rows
    assert now[NEW] > 0
    after = {name: (copy / "preference_models" / name / "done.json").stat().st_mtime_ns for name in PRINCIPLES}
    assert after == before, "the other models are kept"
    assert (copy / "preference_models" / NEW / "done.json").exists()
    assert list(load_run(copy).results["judge"]) == [*PRINCIPLES, NEW]
    assert "policy" not in load_run(copy).results, "numbers of stages that are no longer done are gone"
    small(copy, until="train-pms")
    assert ledger_rows(copy) == now, "taking it out again asks nobody"
    assert {name: (copy / "preference_models" / name / "done.json").stat().st_mtime_ns for name in PRINCIPLES} == before


def test_another_order_of_the_principles_is_another_priority(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = f"principles=[{', '.join(reversed(PRINCIPLES))}]"
    run_pipeline("demo", out=copy, sets=(*SETS, order), until="train-policy")
    assert "train-policy runs again" in capsys.readouterr().out


def test_lost_files_are_made_again(copy: Path) -> None:
    (copy / "evaluation.json").unlink()
    small(copy)
    assert (copy / "evaluation.json").exists()


def test_until_and_only(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match="exclude each other"):
        small(out, until="sample", only="judge")
    with pytest.raises(UserError, match="Did you mean 'train-policy'"):
        small(out, until="train-polcy")
    assert not out.exists(), "nothing is begun for a wrong stage name"
    with pytest.raises(UserError, match="--only needs all earlier stages"):
        small(out, only="judge")
    small(out, until="sample")
    assert done_stages(out) == ["sample"]
    assert set(json.loads((out / "results.json").read_text())) == {"pairs", "seconds", "cost_usd"}
    small(out, only="judge")
    small(out, until="train_pms")
    assert done_stages(out) == ["sample", "judge", "train-pms"]


def test_a_finished_run_needs_nothing_from_outside_until_something_is_to_be_done(copy: Path) -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        small(copy, "evaluation.judge=gpt-35")
    assert done_stages(copy) == STAGES
    assert not replaced(copy)


REWARD = """
import json, sys
from morlaif_core import Message, load_run, make_prompt
batch = load_run(sys.argv[1]).reward()([make_prompt([Message("user", "How are you?")])] * 2, ["Fine, thank you.", "No."])
print(json.dumps([batch.rewards.tolist(), batch.scores.values.tolist(), batch.scores.principles]))
"""


@pytest.mark.slow(seconds=5)
def test_the_reward_is_rebuilt_in_a_fresh_process_and_elsewhere(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("scalarizer: {use: nobody}\njudges: {rules: {surprise: 1}}\n")
    command = [sys.executable, "-W", "ignore", "-c", REWARD, str(finished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rewards, scores, names = json.loads(done.stdout.splitlines()[-1])
    prompt = make_prompt([Message("user", "How are you?")])
    batch = load_run(finished).reward()([prompt] * 2, ["Fine, thank you.", "No."])
    assert list(batch.scores.principles) == names == list(PRINCIPLES)
    np.testing.assert_array_equal(batch.rewards, np.array(rewards, np.float32))
    np.testing.assert_array_equal(batch.scores.values, np.array(scores, np.float32))


def test_generate_answers_before_and_after(finished: Path) -> None:
    prompts = [make_prompt([Message("user", "How are you?")])]
    before, after = load_run(finished).generate(prompts, n=2, seed=1)
    assert [len(texts) for texts in (*before, *after)] == [2, 2]
    assert (before, after) == load_run(finished).generate(prompts, n=2, seed=1)


STRIKES = (1, 3, 4)
"""The reports, counted per stage over all attempts, at which the interrupting screen strikes."""


def interrupt_every_stage(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Send this process Ctrl-C from some reports of every stage; returns where it struck."""
    counts: dict[str, int] = {}
    struck: list[tuple[str, int]] = []

    @contextmanager
    def bar(screen: Screen, label: str, unit: str = "") -> Iterator[Bar]:
        def advance(done: Done) -> None:
            counts[label] = counts.get(label, 0) + 1
            if counts[label] in STRIKES:
                struck.append((label, counts[label]))
                os.kill(os.getpid(), signal.SIGINT)

        yield Bar(advance)

    monkeypatch.setattr(Screen, "bar", bar)
    return struck


def test_a_run_interrupted_again_and_again_ends_as_one_that_was_not(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    struck = interrupt_every_stage(monkeypatch)
    out = tmp_path / "run"
    for _ in range(4 * len(STAGES)):
        try:
            small(out)
            break
        except KeyboardInterrupt:
            continue
    assert {label for label, _ in struck} >= set(STAGES)
    assert done_stages(out) == STAGES
    assert final_files(out) == final_files(finished)
    assert ledger_rows(out) == ledger_rows(finished)
    metrics = (out / "policy" / "metrics.jsonl").read_text()
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == [1, 2]
    assert (out / "policy" / "rollouts.jsonl").read_bytes() == (finished / "policy" / "rollouts.jsonl").read_bytes()


def test_a_data_set_that_changed_underneath_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["prompt_sets"]["calibration"].reverse()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="gives other prompts than when"):
        small(copy, "scalarizer.use=max_min")
    small(copy, "seeds.sample=1", until="sample")
    assert load_run(copy).manifest["prompt_sets"]["calibration"] != manifest["prompt_sets"]["calibration"]


def test_human_labels_the_data_sets_pairs_and_more_responses_a_prompt(tmp_path: Path) -> None:
    """One run through what the demo leaves out: a human-judged principle, dataset pairs, four responses."""
    sets = ("principles.detail.judge=human", "pairs={source: dataset, per_prompt: 4}", "scalarizer.use=lexicographic")
    run = small(tmp_path / "run", *sets)
    by_set: dict[str, int] = {}
    for item in run.pairs():
        by_set[item.set] = by_set.get(item.set, 0) + 1
        assert (item.pair.human is not None) == (item.set in ("pm", "validation"))
    assert by_set["calibration"] == 10 * 6
    assert by_set["pm"] >= 18
    rows = {json.loads(line)["principle"] for line in (tmp_path / "run" / "preferences.jsonl").read_text().splitlines()}
    assert rows == {"helpfulness", "conciseness"}
    assert set(ledger_rows(tmp_path / "run")) == rows
    results = run.results
    assert results["judge"]["detail"]["n"] is None
    assert results["judge"]["helpfulness"]["agreement_with_human"]["n"] > 0
    assert results["preference_models"]["detail"]["accuracy"] is not None
    assert results["policy"]["detail"]["win_rate"] is None
    assert results["win_rate"]["n"] == 8
