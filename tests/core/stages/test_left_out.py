"""What a run leaves out is counted under a reason that a user can act on; counts of prompts that fit the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from morlaif_core import UserError, run
from morlaif_core.config.load import load_config
from tests.helpers.small_run import SETS, small


def test_prompts_that_are_too_long_name_the_limit_and_its_key(tmp_path: Path) -> None:
    done = small(tmp_path / "set", "prompts.max_tokens=18", until="sample")
    ((why, count),) = done.manifest["left_out"].items()
    assert (why, count > 0) == ("longer than 18 tokens (prompts.max_tokens)", True)
    # The demo's base holds 256 tokens.
    done = small(tmp_path / "model", "generation.max_new_tokens=238", until="sample")
    ((why, count),) = done.manifest["left_out"].items()
    assert why == "longer than 18 tokens (the model's context of 256 less generation.max_new_tokens: 238)"
    with pytest.raises(UserError, match=r"left out: [\d,]+ longer than 5 tokens \(prompts.max_tokens\)"):
        small(tmp_path / "none", "prompts.max_tokens=5", until="sample")


def test_counts_that_fit_the_data_are_told_and_kept_when_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run("demo", out=tmp_path / "run", sets=[*SETS, "prompts=auto"], until="sample")
    assert "prompts: pm 54, validation 18, calibration 14, rl 58, evaluation 16" in capsys.readouterr().out
    drawn = done.manifest["prompt_sets"]
    assert {name: len(ids) for name, ids in drawn.items()} == {
        **{"pm": 54, "validation": 18, "calibration": 14},
        **{"rl": 58, "evaluation": 16},
    }
    (tmp_path / "run" / "pairs.jsonl").unlink()
    assert small(tmp_path / "run", "prompts=auto", until="sample").manifest["prompt_sets"] == drawn


def test_auto_is_a_short_form_over_which_single_counts_are_set(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("prompts: auto\n")
    prompts = load_config(["demo", "mine.yaml"], ["prompts.pm=60", "prompts.rl=auto"], folder=tmp_path).settings.prompts
    assert (prompts.pm, prompts.calibration, prompts.rl, prompts.evaluation) == (60, "auto", None, "auto")
    assert load_config(["demo"]).settings.prompts.pm == 800
