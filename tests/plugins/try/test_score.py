"""What `morlaif score` prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import CutOff, RewardBatch, make_prompt
from morlaif_core.cli.main import cli, guarded
from morlaif_core.testing import make_scores
from morlaif_try.score import _rows, _show, _tell_failed
from tests.helpers.failing_scores import let_fail


def test_what_failed_is_null_or_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    scores = make_scores([[1.0, 2.0], [np.nan, 1.0]], ["kind", "calm"])
    batch = RewardBatch(np.array([1.0, np.nan], dtype=np.float32), scores, 0.0)
    scored = _rows([make_prompt("?")] * 2, ["x", CutOff("y")], batch)
    _show(scored, True)
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["reward"] for row in rows] == [1.0, None]
    assert [row["ended"] for row in rows] == [True, False]
    assert rows[1]["scores"] == {"kind": None, "calm": 1.0}
    _tell_failed(scored)
    _show(scored, False)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].split() == ["-", "-", "1.000", "y"]
    assert shown.err == "response 2 has no score under kind: its preference model failed\n"


def test_a_single_response_whose_score_failed_is_told_and_no_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    let_fail(monkeypatch, "detail", lambda text: text == "bad")

    def called(*responses: str) -> int:
        options = [part for text in responses for part in ("--response", text)]
        arguments = ["score", str(finished), "--prompt", "Why?", "--json", *options]
        return guarded(lambda: cli(arguments, standalone_mode=False))

    assert called("bad") == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert row["reward"] is row["scores"]["detail"] is None
    assert all(value is not None for name, value in row["scores"].items() if name != "detail")
    assert "response 1 has no score under detail" in shown.err
    assert called("bad", "good") == 0
    capsys.readouterr()
    # Several that all fail are the model's fault.
    assert called("bad", "bad") == 1
    assert "principle detail" in capsys.readouterr().err
