"""A scalarizer that cannot work is found before judges and preference models are paid for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from morlaif_core import Floats, NoOptions, ScoreMatrix, Terms, UserError, component
from morlaif_core.cli.main import cli
from morlaif_core.config.load import load_config
from morlaif_core.plugins.manager import Offer, Plugins
from morlaif_core.readiness import check_reward


def check(tmp_path: Path, text: str, plugins: Plugins | None = None) -> tuple[str, ...]:
    (tmp_path / "mine.yaml").write_text(text)
    return check_reward(load_config(["demo", "mine.yaml"], plugins=plugins, folder=tmp_path))


@pytest.mark.parametrize(
    ("scalarizer", "complaint"),
    [
        ("{use: chebyshev, target: 0.5}", r"scalarizer\.target: 0\.5 of politeness is below .* \[mine\.yaml\]$"),
        ("{use: owa, omega: [2, 1]}", r"scalarizer\.omega: 2 weights for 3 principles.* \[mine\.yaml\]$"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, scalarizer: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check(tmp_path, f"scalarizer: {scalarizer}\n")


def test_the_command_refuses_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["check", "demo", "--set", "scalarizer={use: chebyshev, target: 0.5}"])
    assert isinstance(done.exception, UserError)
    assert "[--set scalarizer]" in str(done.exception)


@pytest.mark.parametrize(
    "text",
    [
        "principles: {politeness: {threshold: {quantile: 0.5}}, relevance: {threshold: {win_rate: 0.6}}, helpfulness: {}}\n"
        "scalarizer: {use: max_min}\nreward: {calibrate: platt}\n",
        "scalarizer: {use: max_min}\nreward: {utility: expected}\n",
        "scalarizer: {use: soft_max_min}\nreward: {schedules: {temperature: {points: [[0, 2.0], [9, 0.2]]}}}\n",
        "scalarizer: {use: chebyshev, target: 0.5}\nreward: {clip: 0.5}\n",
        "principles: {politeness: {}}\nscalarizer: {use: weighted}\nreward: {clip: 1.0e-3}\n",
        "scalarizer: {use: normalize_then_sum}\ntrainer: {responses_per_prompt: 4}\n",
        "scalarizer: {use: lexicographic_rank}\ntrainer: {responses_per_prompt: 4}\n",
    ],
)
def test_what_can_work_is_let_through(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)


Call = Callable[[ScoreMatrix, Terms], Floats]


def stranger(call: Call, **offer: Any) -> Plugins:
    plugins = Plugins.load()
    odd = component("odd", lambda _: call, NoOptions, "x", **offer)
    plugins.offers_by_kind["scalarizer"].append(Offer("strange", "strange", "1", "scalarizer", odd))
    return plugins


def broken(scores: ScoreMatrix, terms: Terms) -> Floats:
    raise KeyError("gone")


def short(scores: ScoreMatrix, terms: Terms) -> Floats:
    return np.zeros(1, dtype=np.float32)


ODD = "scalarizer: {use: odd}\n"


def test_a_strangers_failure_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"scalarizer\.use: 'odd' cannot be used: KeyError: 'gone' \[mine\.yaml\]"):
        check(tmp_path, ODD, stranger(broken))
    monkeypatch.setenv("MORLAIF_STRICT", "1")
    with pytest.raises(KeyError):
        check(tmp_path, ODD, stranger(broken))


def test_what_is_no_reward_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^scalarizer: scalarizer odd returned shape \(1,\) .* \[mine\.yaml\]"
    ) as raised:
        check(tmp_path, ODD, stranger(short))
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("need", ["spread", "features"])
def test_what_needs_more_than_scores_is_not_tried(tmp_path: Path, need: str) -> None:
    plugins = stranger(broken, needs_for=lambda _: frozenset({need}))
    trainer = component("giver", lambda _: None, NoOptions, "x", supplies=frozenset({need}))  # type: ignore[arg-type]
    plugins.offers_by_kind["policy_trainer"].append(Offer("strange", "strange", "1", "policy_trainer", trainer))
    check(tmp_path, ODD + "trainer: {use: giver}\n", plugins)
