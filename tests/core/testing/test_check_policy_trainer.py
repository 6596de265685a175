"""`check_policy_trainer` passes a stranger's honest trainer and finds each of its mutants, by the right words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from morlaif_core.testing import ContractError, check_policy_trainer
from tests.helpers.shared_folders import SharedFolders
from tests.helpers.stranger_trainer import QUICK, Stranger, offered
from tests.helpers.tiny_models import save_tiny
from tests.helpers.trainer_mutants import MUTANTS


@pytest.fixture(scope="module")
def base(shared: SharedFolders) -> Path:
    return shared.made("stranger-base", lambda folder: save_tiny(folder / "base", "gpt2")) / "base"


def test_an_honest_trainer_passes(base: Path, tmp_path: Path) -> None:
    check_policy_trainer(offered(), base, tmp_path, QUICK)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda kind: kind.__name__)
def test_a_mutant_is_found(mutant: type[Stranger], base: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=re.escape(MUTANTS[mutant])) as found:
        check_policy_trainer(offered(mutant), base, tmp_path, QUICK)
    assert str(found.value).startswith("stranger: ")


def test_too_few_steps_are_no_check(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="at least 4"):
        check_policy_trainer(offered(), base, tmp_path, {**QUICK, "steps": 2})
