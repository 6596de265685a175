"""What `morlaif score` prints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from morlaif_core import RewardBatch
from morlaif_core.testing import make_scores
from morlaif_try.score import _show


def test_what_failed_is_null_or_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    scores = make_scores([[1.0, 2.0], [np.nan, 1.0]], ["kind", "calm"])
    batch = RewardBatch(np.array([1.0, np.nan], dtype=np.float32), scores, 0.0)
    _show(["x", "y"], batch, True)
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [row["reward"] for row in rows] == [1.0, None]
    assert rows[1]["scores"] == {"kind": None, "calm": 1.0}
    _show(["x", "y"], batch, False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["-", "-", "1.000", "y"]
