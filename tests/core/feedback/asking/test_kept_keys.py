"""The ledger's keys are those of the first releases, in every way of asking: a key that changes is a question paid anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.asking.plan import plan
from morlaif_core.feedback.asking.requests import asking_of
from morlaif_core.feedback.asking.styles import template_hash
from morlaif_core.feedback.planned_judge import PlannedJudge
from morlaif_core.feedback.types import Task
from morlaif_core.types import Capabilities, Example, Message, Principle, make_pair, make_prompt

KEPT = json.loads((Path(__file__).parents[3] / "data" / "ledger_keys.json").read_text(encoding="utf-8"))
"""Written by the code of 2026-11-29, before the packages were arranged anew."""
ABLE = Capabilities(max_top_logprobs=20, structured=True)
EXAMPLES = tuple(Example(f"Why {i}?", "a \\ b", f'"{i}"', "a") for i in range(3))
PRINCIPLES = (
    Principle(
        "kind",
        'Which response is "kinder"?',
        phrasings=("Which response is less rude?\t", "Wer ist freundlicher? ÄÖ€😀"),
    ),
    Principle("brief", "Which response is longer?", "worse", examples=EXAMPLES),
    Principle("exact", "Which response is exact?", examples=EXAMPLES[:1]),
)
TALK = (Message("system", "Be kind."), Message("user", "1?"), Message("assistant", "2"), Message("user", "3 😀?"))
PAIRS = [
    make_pair(make_prompt([Message("user", "Hi\nthere")]), "Hello!", "</response_A 12>"),
    make_pair(make_prompt(TALK), "a" * 40, "ß"),
]


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: json.dumps(kept["judging"]))
def test_keys_are_those_of_the_first_releases(kept: dict[str, Any]) -> None:
    judging = Judging.model_validate(kept["judging"] or {})
    asking = asking_of(ABLE if kept["judging"] else Capabilities(reads="pair"), judging)
    judge = PlannedJudge("j", asking, judging, None, "openai:https://host model")
    _, works = plan([Task(pair, principle, "j") for pair in PAIRS for principle in PRINCIPLES], judge, 7)
    keys = [*sorted(work.key for work in works), "", *sorted(row for work in works for row in work.rows)]
    assert len(works) == kept["n"]
    assert hashlib.sha256("\n".join(keys).encode()).hexdigest() == kept["keys"]
    assert template_hash(asking.mode, asking.abstain) == kept["template"]
