"""A run as a program or a notebook sees it: what it shows, its files as frames, prompts in any form."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morlaif_core
from morlaif_core import Message, UserError, load_run, make_prompt
from morlaif_core.runs.folder import json_line
from tests.helpers.small_run import PRINCIPLES, SETS, small

FORMS: list[Any] = ["How do I bake bread?", {"role": "user", "content": "How do I bake bread?"}]
PROMPT = make_prompt([Message("user", "How do I bake bread?")])


def test_a_run_says_how_far_it_is(finished: Path, tmp_path: Path) -> None:
    run = load_run(finished)
    assert repr(run).startswith(
        f"<Run {finished}: done: sample, judge, train-pms, train-policy, evaluate; overall win rate"
    )
    shown = run._repr_html_()
    assert shown.count("<tr>") == 1 + len(PRINCIPLES)
    assert all(name in shown for name in PRINCIPLES)
    begun = small(tmp_path / "run", until="sample")
    assert repr(begun) == f"<Run {tmp_path / 'run'}: done: sample>"
    assert begun._repr_html_().count("<tr>") == 1


def test_a_reward_says_whose_it_is(finished: Path, tmp_path: Path) -> None:
    reward = load_run(finished).reward()
    assert repr(reward) == f"<Reward of {finished}: weighted of {', '.join(PRINCIPLES)}>"
    assert repr(load_run(small(tmp_path / "run", until="sample").folder).reward()).endswith("not fitted yet>")


def test_settings(finished: Path) -> None:
    settings = load_run(finished).settings
    assert settings.scalarizer.use == "weighted"
    assert list(settings.principles) == list(PRINCIPLES)


def test_files_are_frames(finished: Path, tmp_path: Path) -> None:
    run = load_run(finished)
    metrics = run.metrics()
    assert list(metrics.index) == [1, 2]
    assert {"reward", "kl", *(f"score/{name}" for name in PRINCIPLES)} <= set(metrics.columns)
    assert np.isfinite(metrics["reward"]).all()
    cut = load_run(shutil.copytree(finished, tmp_path / "cut"))
    with (cut.folder / "policy" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "rew')  # a run under way
    assert cut.metrics().equals(metrics)
    assert len(run.evaluation()) == run.settings.prompts.model_dump()["evaluation"]


def test_what_is_not_there_is_an_error_with_advice(finished: Path, tmp_path: Path) -> None:
    run = load_run(shutil.copytree(finished, tmp_path / "run"))
    for name, file in (("metrics", "policy/metrics"), ("rollouts", "policy/rollouts"), ("evaluation", "evaluation")):
        (run.folder / f"{file}.jsonl").unlink(missing_ok=True)
        with pytest.raises(UserError, match=rf"{file}\.jsonl; `morlaif run` writes it in"):
            getattr(run, name)()
    rows = [
        {"step": 1, "reward": 0.5, "scores": {"detail": 1.0}},
        {"step": 1, "reward": None, "scores": {"detail": 2.0}},
    ]
    (run.folder / "policy" / "rollouts.jsonl").write_text("".join(map(json_line, rows)))
    assert list(run.rollouts().columns) == ["step", "reward", "scores.detail"]
    assert run.rollouts()["scores.detail"].tolist() == [1.0, 2.0]


def test_prompts_in_any_form(finished: Path, tmp_path: Path) -> None:
    run = load_run(shutil.copytree(finished, tmp_path / "run"))
    plain, dicts, whole = (run.generate([form], n=2, seed=1) for form in (*FORMS, PROMPT))
    assert plain == dicts == whole
    reward = run.reward()
    scored = [reward([form], ["Mix flour and water."]).rewards.tolist() for form in (*FORMS, PROMPT)]
    assert scored[0] == scored[1] == scored[2]
    with run.workbench() as bench:
        assert bench.sample(FORMS, n=1, seed=0) == bench.sample([PROMPT, PROMPT], n=1, seed=0)
        (score,) = bench.scores([FORMS[0]], ["Mix flour and water."]).values
        assert score.tolist() == bench.scores([PROMPT], ["Mix flour and water."]).values[0].tolist()
        assert bench.labelled_pairs(FORMS[0]) == bench.labelled_pairs(PROMPT)


def test_run_takes_mappings_and_dotted_keys(tmp_path: Path) -> None:
    """As the command's files and --set."""
    out = tmp_path / "run"
    expected = small(out, "scalarizer={use: soft_max_min, temperature: 0.5}", until="sample").settings
    run = morlaif_core.run(
        Path("demo"),
        {"scalarizer.temperature": 0.5, "scalarizer.use": "soft_max_min"},
        overrides={"pairs.ties": "drop"},
        sets=SETS,
        out=tmp_path / "other",
        until="sample",
        quiet=True,
    )
    assert run.settings.pairs.ties == "drop"
    assert run.settings.scalarizer == expected.scalarizer
    assert run.settings.principles == expected.principles


def test_judges_are_opened_with_one_configuration_or_several(tmp_path: Path) -> None:
    for configs in ("demo", ["demo"], ["demo", {"principles": {"politeness": {}}}]):
        with morlaif_core.open_judges(configs, out=tmp_path / "none", hold=False) as bench:
            assert "politeness" in [item.name for item in bench.principles]
