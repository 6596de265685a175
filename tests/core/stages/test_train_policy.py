"""The pipeline with a reward that moves: expected utility, schedules and length control, each through a whole small run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import load_run
from morlaif_core.reward.build import build_scalarizer
from morlaif_core.reward.expected_utility import Expected
from morlaif_core.reward.saved_reward import load_reward_file
from morlaif_core.runs.progress import Bar
from morlaif_core.testing import make_scores, make_terms
from morlaif_core.types import Message, make_prompt
from tests.helpers.small_run import PRINCIPLES, final_files, small


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "policy" / "metrics.jsonl").read_text().splitlines()]


def test_a_reward_that_moves_is_logged_saved_and_rebuilt(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small(
        run,
        "scalarizer={use: soft_max_min, temperature: 1.0}",
        "reward.utility=expected",
        "reward.length_control=true",
        "reward.schedules={temperature: {points: [[0, 2.0], [1, 0.5]]}, detail.weight: {points: [[0, 1.0], [1, 4.0]]}}",
    )
    rows = metrics(run)
    assert [row["term/detail.weight"] for row in rows] == [1.0, 4.0]
    assert [row["term/temperature"] for row in rows] == [2.0, 0.5]
    assert rows[0]["scalarizer/means/detail"] != rows[1]["scalarizer/means/detail"]
    assert set(json.loads((run / "preference_models" / "calibration.json").read_text())["length"]["slopes"]) == {
        "helpfulness",
        "conciseness",
        "detail",
    }
    state = json.loads((run / "policy" / "reward_state.json").read_text())
    assert state["scalarizer"]["means"] == {name: rows[1][f"scalarizer/means/{name}"] for name in PRINCIPLES}
    reward = load_run(run).reward()
    prompt = make_prompt([Message("user", "How do I bake bread?")])
    asked = [prompt, prompt], ["Mix flour and water.", "No."]
    batch = reward(*asked)  # as it was in the last step
    explained = reward.explain(batch)
    assert state["step"] == 1
    np.testing.assert_array_equal(batch.rewards, reward(*asked, step=1).rewards)
    assert (batch.rewards != reward(*asked, step=0).rewards).all()
    scales = json.loads((run / "preference_models" / "reward.json").read_text())["scale"]["steps"]
    assert len(scales) == 2
    assert scales[0][1] != scales[1][1]
    # Of mean scores the reward is a weighted sum: every row is moved alike.
    np.testing.assert_allclose(explained.influence[0], explained.influence[1], atol=1e-2)
    # A scalarizer that uses no weights does not get them for a flat gradient either: level means have no median to move.
    context, (_, resolved, _) = load_run(run).context(), load_reward_file(run / "preference_models" / "reward.json")
    offered = context.plugins.find("scalarizer", "max_median")
    settings = context.settings.reward.model_copy(update={"schedules": {}})
    median = build_scalarizer(offered, offered.options(), settings, resolved, (0.0, 0.0, 0.0))
    assert isinstance(median, Expected)
    found = median.weights(make_scores([[0.0] * 3], PRINCIPLES), make_terms(weight=[1, 2, 3]))
    assert found.tolist() == [1 / 3] * 3


def test_effective_weights_and_a_scale_for_groups_are_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    results = small(run, "principles.detail.weight=3").results
    deviation = {name: block["deviation"] for name, block in results["reward"].items()}
    units = json.loads((run / "preference_models" / "calibration.json").read_text())["principles"]
    assert deviation == {name: unit["deviation"] for name, unit in units.items()}
    parts = {name: value * (3 if name == "detail" else 1) for name, value in deviation.items()}
    for name, block in results["reward"].items():
        assert block["effective_weight"] == pytest.approx(parts[name] / sum(parts.values()))
    results = small(run, "principles.detail.weight=3", "scalarizer.use=leximin").results
    assert {block["effective_weight"] for block in results["reward"].values()} == {None}  # it uses no weights
    scale = json.loads((run / "preference_models" / "reward.json").read_text())["scale"]
    # Of ranks in groups of four, as the demo's trainer has them.
    assert (scale["mean"], scale["deviation"]) == pytest.approx((0.5, np.sqrt(5 / 36)), abs=0.02)


def test_a_changed_schedule_redoes_the_policy_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small(run)
    before = json.loads((run / "manifest.json").read_text())["stages"]
    small(run, "reward.schedules={detail.weight: {points: [[0, 1.0], [1, 4.0]]}}")
    after = json.loads((run / "manifest.json").read_text())["stages"]
    changed = {name for name in after if after[name]["inputs"] != before[name]["inputs"]}
    assert changed == {"train-policy", "evaluate"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_step_and_the_same_command_goes_on_bit_for_bit(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    sets = ("trainer.steps=4", "trainer.checkpoint_every=100")
    whole, cut = (Path(shutil.copytree(finished, tmp_path / name)) for name in ("whole", "cut"))
    small(whole, *sets)
    told = Bar.__call__

    def strike(bar: Bar, step: int, total: int, metrics: Any = None, **more: Any) -> Any:
        if total == 4 and step == 2:
            os.kill(os.getpid(), number)
        return told(bar, step, total, metrics, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Bar, "__call__", strike)
        with pytest.raises(KeyboardInterrupt):
            small(cut, *sets)
    assert [path.name for path in (cut / "policy").glob("checkpoint-*")] == ["checkpoint-2"]
    assert load_run(cut).manifest["stages"]["train-policy"]["state"] == "started"
    small(cut, *sets)
    assert final_files(cut) == final_files(whole)
    rows = [[{key: row[key] for key in row if "seconds" not in key} for row in metrics(run)] for run in (cut, whole)]
    assert rows[0] == rows[1]
