"""A function's scores as a preference model: the contract holds, and what a stranger's function does wrong is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morlaif_core import NoOptions, PreferenceModel, Prompt, Target, UserError, make_prompt, score_component
from morlaif_core.testing import ContractError, check_pm_backend, tiny_base

PROMPTS = [make_prompt("Why?"), make_prompt("How?")]


def offered(function: Callable[[Sequence[Prompt], Sequence[str]], Any]) -> Any:
    return score_component("mine", lambda options: function, NoOptions, "a function's")


def loaded(function: Callable[[Sequence[Prompt], Sequence[str]], Any], folder: Path) -> PreferenceModel:
    for name in ("brief", "short"):
        (folder / name).mkdir()
        (folder / name / "done.json").write_text("{}")
    backend = offered(function).build(NoOptions())
    model: PreferenceModel = backend.load(folder, ("short", "brief"), Target(model="none"), None)
    return model


def test_the_contract_holds(tmp_path: Path) -> None:
    check_pm_backend(offered(lambda prompts, responses: [-len(text) for text in responses]), tiny_base(), tmp_path)


def test_a_score_that_hangs_on_its_batch_is_found(tmp_path: Path) -> None:
    def centred(prompts: Sequence[Prompt], responses: Sequence[str]) -> Any:
        lengths = np.array([len(text) for text in responses])
        return lengths - lengths.mean()

    with pytest.raises(ContractError, match="depends on its batch"):
        check_pm_backend(offered(centred), tiny_base(), tmp_path)


def test_columns_spread_and_failed_scores(tmp_path: Path) -> None:
    model = loaded(lambda prompts, responses: [float("nan") if not text else len(text) for text in responses], tmp_path)
    found = model.score(PROMPTS, ["abc", ""])
    np.testing.assert_array_equal(found.values, np.array([[3, 3], [np.nan, np.nan]], dtype=np.float32))
    assert found.principles == ("short", "brief")
    assert found.spread is not None
    assert not found.spread.any()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda prompts, responses: [1.0], "returned .1,. for 2 responses"),
        (lambda prompts, responses: [[1.0], [2.0]], "returned .2, 1. for 2 responses"),
        (lambda prompts, responses: ["good", "bad"], "'mine' failed: ValueError"),
        (lambda prompts, responses: 1 / 0, "'mine' failed: ZeroDivisionError"),
    ],
)
def test_what_a_function_does_wrong_is_told(function: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        loaded(function, tmp_path).score(PROMPTS, ["abc", ""])


def test_a_missing_principle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no preference model of absent"):
        offered(len).build(NoOptions()).load(tmp_path, ("absent",), Target(model="none"), None)
