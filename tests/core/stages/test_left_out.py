"""What a run leaves out is counted under a reason that a user can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from morlaif_core import UserError
from tests.helpers.small_run import small


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
