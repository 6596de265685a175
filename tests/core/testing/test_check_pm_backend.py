"""`check_pm_backend` passes a stranger's honest backend and finds each of its mutants, by the right words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from morlaif_core.testing import ContractError, check_pm_backend
from tests.helpers.shared_folders import SharedFolders
from tests.helpers.stranger_pm_backend import MUTANTS, Stranger, offered
from tests.helpers.tiny_models import save_tiny


@pytest.fixture(scope="module")
def base(shared: SharedFolders) -> Path:
    return shared.made("stranger-base", lambda folder: save_tiny(folder / "base", "gpt2")) / "base"


def test_an_honest_backend_passes(base: Path, tmp_path: Path) -> None:
    check_pm_backend(offered(), base, tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda kind: kind.__name__)
def test_a_mutant_is_found(mutant: type[Stranger], base: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=re.escape(MUTANTS[mutant])) as found:
        check_pm_backend(offered(mutant), base, tmp_path)
    assert str(found.value).startswith("words: ")
