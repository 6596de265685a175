"""The road with a reward that moves: expected utility, schedules and length control, each through a whole small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from morlaif_core import load_run
from morlaif_core.types import Message, make_prompt
from tests.small_run import small


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
    assert all(f"scalarizer/means/{place}" in row for row in rows for place in range(3))
    assert rows[0]["scalarizer/means/0"] != rows[1]["scalarizer/means/0"]
    assert set(json.loads((run / "preference_models" / "calibration.json").read_text())["length"]["slopes"]) == {
        "helpfulness",
        "conciseness",
        "detail",
    }
    state = json.loads((run / "policy" / "reward_state.json").read_text())
    assert state["scalarizer"]["means"] == [rows[1][f"scalarizer/means/{place}"] for place in range(3)]
    reward = load_run(run).reward()
    prompt = make_prompt([Message("user", "How do I bake bread?")])
    batch = reward([prompt, prompt], ["Mix flour and water.", "No."], step=1)
    explained = reward.explain(batch, step=1)
    # Of mean scores the reward is a weighted sum: every row is moved alike.
    np.testing.assert_allclose(explained.influence[0], explained.influence[1], atol=1e-2)


def test_a_changed_schedule_redoes_the_policy_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small(run)
    before = json.loads((run / "manifest.json").read_text())["stages"]
    small(run, "reward.schedules={detail.weight: {points: [[0, 1.0], [1, 4.0]]}}")
    after = json.loads((run / "manifest.json").read_text())["stages"]
    changed = {name for name in after if after[name]["inputs"] != before[name]["inputs"]}
    assert changed == {"train-policy", "evaluate"}
