"""The judges of a configuration as commands get them: asked in a folder that is held, only looked at in one that is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from morlaif_core import Message, Task, UserError, ended, make_pair, make_prompt, open_judges
from morlaif_core.errors import Busy
from morlaif_core.runs.folder import json_line, read_jsonl

PAIR = make_pair(make_prompt([Message("user", "May I ask?")]), "Yes, please do!", "No.")


def test_what_is_asked_is_kept_in_the_folder(tmp_path: Path) -> None:
    with open_judges(["demo"], out=tmp_path / "run") as bench:
        tasks = [Task(PAIR, principle, "rules") for principle in bench.judged_principles]
        first = bench.ask(tasks)
        assert [verdict.principle for verdict in first] == ["politeness", "relevance", "helpfulness"]
        assert first[0].p_a is not None
        assert first[0].p_a > 0.5
        assert [verdict.p_a for verdict in bench.ask(tasks)] == [verdict.p_a for verdict in first]
        with pytest.raises(Busy), open_judges(["demo"], out=tmp_path / "run"):
            pass
    assert (tmp_path / "run" / "judgements.sqlite").exists()


def test_to_look_writes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    with open_judges(["demo"], out=folder, hold=False) as bench:
        planned = bench.planned_judge("rules").requests([PAIR], bench.judged_principles, 0)
        assert len(planned) == 6, "three principles in both orders"
        assert not any(request.answered for request in planned)
        with pytest.raises(UserError, match="hold=True"):
            bench.ask([Task(PAIR, bench.judged_principles[0], "rules")])
        with pytest.raises(UserError, match="no pairs yet"):
            bench.stored_pairs()
    assert not folder.exists()


def test_what_is_answered_is_known_beforehand(tmp_path: Path) -> None:
    with open_judges(["demo"], out=tmp_path / "run") as bench:
        bench.ask([Task(PAIR, bench.judged_principles[0], "rules")])
    with open_judges(["demo"], out=tmp_path / "run", hold=False) as bench:
        planned = bench.planned_judge("rules").requests([PAIR], bench.judged_principles[:2], 0)
        assert [request.answered for request in planned].count(True) == 2


def test_a_judge_that_refuses_a_principle_says_why(tmp_path: Path) -> None:
    sets = ["principles.factuality={judge: gpt-4o-mini}"]
    with open_judges(["demo"], sets, tmp_path / "run", hold=False) as bench:
        by_name = {principle.name: principle for principle in bench.principles}
        assert bench.refusal("rules", by_name["politeness"]) is None
        assert bench.refusal("rules", by_name["factuality"])
        assert bench.model("rules") == "rules"
        assert bench.model("gpt-4o-mini") == "gpt-4o-mini"


def test_trained_responses_are_those_that_the_evaluation_has_judged(finished: Path, tmp_path: Path) -> None:
    """Plain ones where the run's pairs, of an earlier version, do not say what was cut off."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    with open_judges([str(run)], hold=False) as bench:
        assert not all(map(ended, bench.trained_responses().values()))
    rows = [{key: value for key, value in row.items() if key != "ended"} for row in read_jsonl(run / "pairs.jsonl")]
    (run / "pairs.jsonl").write_text("".join(map(json_line, rows)), encoding="utf-8")
    with open_judges([str(run)], hold=False) as bench:
        assert all(map(ended, bench.trained_responses().values()))
