"""rollouts.jsonl: what the policy answered in training, of every trainer, bounded, and each step once."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import Message, RewardBatch, ScoreMatrix, make_prompt, run
from morlaif_core.reward.saved_reward import RunReward
from morlaif_core.stages.metrics import StepRows
from morlaif_core.stages.rollouts import FILE, Rollouts
from morlaif_core.types import CutOff
from tests.helpers.small_run import PRINCIPLES, SETS

NAMES = ("kind", "brief")
PROMPT = make_prompt([Message("user", "How are\u2028you?")])


class Scorer:
    """A reward of a stranger's: the length and its negative; NaN where a response is empty."""

    def __call__(self, prompts: Any, responses: Any, *, step: int | None = None) -> RewardBatch:
        length = np.array([len(text) or np.nan for text in responses], dtype=np.float32)
        scores = ScoreMatrix(np.stack([length, -length], axis=1), NAMES, tuple(prompt.id for prompt in prompts))
        return RewardBatch(length, scores, 0.0)

    def state(self) -> dict[str, object]:
        return {}


def train(folder: Path, steps: range, total: int, every: Any = 1, per_step: int = 32, parts: int = 1) -> None:
    """A trainer that passes no step, and scores its step in parts."""
    rollouts = Rollouts(folder, every, per_step)
    reward: Any = RunReward(folder, Scorer(), watch=rollouts.scored)  # type: ignore[arg-type]
    (folder / FILE).parent.mkdir(exist_ok=True)
    for step in steps:
        for part in range(parts):
            reward([PROMPT] * 2, ["a" * step, f"part {part}\u2028of {step}"])
        rollouts.end_step(step, total)


def test_a_row_says_what_was_answered_and_how_it_was_scored(tmp_path: Path) -> None:
    rollouts = Rollouts(tmp_path, 1, 8)
    (tmp_path / "policy").mkdir()
    reward: Any = RunReward(tmp_path, Scorer(), watch=rollouts.scored)  # type: ignore[arg-type]
    reward([PROMPT] * 2, [CutOff("Fine\u2028"), ""])
    rollouts.keep({"kl": [0.5, 0.25, 7.0]})
    rollouts.end_step(1, 1)
    first, second = StepRows(tmp_path / FILE).rows()
    assert first == {
        "step": 1,
        "prompt_id": PROMPT.id,
        "prompt": [{"role": "user", "content": "How are\u2028you?"}],
        "response": "Fine\u2028",
        "ended": False,
        "raw": None,
        "scores": {"kind": 5.0, "brief": -5.0},
        "reward": 5.0,
        "kl": 0.5,
    }
    assert (second["reward"], second["scores"], second["ended"]) == (None, {"kind": None, "brief": None}, True)


@pytest.mark.parametrize(
    ("every", "total", "kept"),
    [
        (1, 4, [1, 2, 3, 4]),
        (3, 8, [1, 3, 6, 8]),
        (50, 8, [1, 8]),
        ("auto", 5, [1, 2, 3, 4, 5]),
        ("auto", 250, [1, *range(3, 250, 3), 250]),
        (0, 4, []),
    ],
)
def test_some_steps_are_kept(tmp_path: Path, every: Any, total: int, kept: list[int]) -> None:
    train(tmp_path, range(1, total + 1), total, every)
    assert [row["step"] for row in StepRows(tmp_path / FILE).rows()][::2] == kept
    assert (tmp_path / FILE).exists() == bool(kept)


def test_a_step_scored_in_parts_is_kept_up_to_its_bound(tmp_path: Path) -> None:
    train(tmp_path, range(1, 3), 2, per_step=5, parts=4)
    rows = StepRows(tmp_path / FILE).rows()
    assert [row["step"] for row in rows] == [1] * 5 + [2] * 5
    assert [row["response"] for row in rows[:5]] == ["a", "part 0\u2028of 1", "a", "part 1\u2028of 1", "a"]


@pytest.mark.parametrize("checkpoint", range(6))
@pytest.mark.parametrize("every", [1, 2, 3])
def test_after_a_kill_no_row_is_doubled_and_none_is_missing(tmp_path: Path, checkpoint: int, every: int) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    train(tmp_path / "whole", range(1, 7), 6, every)
    train(tmp_path / "killed", range(1, 6), 6, every)
    with (tmp_path / "killed" / FILE).open("a") as file:
        file.write('{"step": 6, "prompt')
    train(tmp_path / "killed", range(checkpoint + 1, 7), 6, every)
    assert (tmp_path / "killed" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


def test_another_process_scores_and_keeps_nothing(tmp_path: Path) -> None:
    reward = RunReward(tmp_path, Scorer(), watch=lambda *_: None)  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(reward))._watch is None


def test_a_run_keeps_its_rollouts(finished: Path) -> None:
    rows = StepRows(finished / FILE).rows()
    metrics = [json.loads(line) for line in (finished / "policy" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1] * 32 + [2] * 32
    for step, metric in enumerate(metrics, 1):
        own = [row for row in rows if row["step"] == step]
        assert np.mean([row["reward"] for row in own]) == pytest.approx(metric["reward"], abs=1e-5)
        assert np.mean([row["kl"] for row in own]) == pytest.approx(metric["kl"], abs=1e-5)
        for name in PRINCIPLES:
            assert np.mean([row["scores"][name] for row in own]) == pytest.approx(metric[f"score/{name}"], abs=1e-5)
            assert all(np.isfinite(row["raw"][name]) for row in own)


def test_how_many_are_kept_repeats_no_stage(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    run("demo", out=out, sets=(*SETS, "trainer.rollouts_every=7", "trainer.rollouts_per_step=1"))
    assert "nothing to do" in capsys.readouterr().out
