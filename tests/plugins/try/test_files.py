"""`generate` and `score` on files of prompts: texts, conversations, a system prompt, and mistakes with their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from morlaif_core import Message, UserError, load_run, make_prompt
from morlaif_try.generate import generate
from morlaif_try.prompts import Asked
from morlaif_try.score import score

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "How are you?"},
]


def called(command: Any, *arguments: object) -> str:
    return CliRunner().invoke(command, [str(part) for part in arguments], catch_exceptions=False, standalone_mode=False)


def output(command: Any, *arguments: object) -> str:
    done: Any = called(command, *arguments)
    if done.exception is not None:
        raise done.exception
    return str(done.stdout)


def written(folder: Path, *rows: object) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_of_texts_and_conversations_is_answered_row_by_row(finished: Path, tmp_path: Path) -> None:
    file = written(tmp_path, '"How are you?"', "", {"prompt": "Why?", "id": 7}, {"messages": TURNS}, {"prompt": TURNS})
    rows = lines(output(generate, finished, "--prompts", file, "-n", 2, "--json"))
    assert [row["prompt"] for row in rows] == ["How are you?", "Why?", TURNS, TURNS]
    assert all(len(row[when]) == len(row["ended"][when]) == 2 for row in rows for when in ("before", "after"))
    prompts = [Asked(None).of_row(row) for row in ("How are you?", "Why?", TURNS, TURNS)]
    before, after = load_run(finished).generate(prompts, n=2)
    assert [(row["before"], row["after"]) for row in rows] == [
        (list(b), list(a)) for b, a in zip(before, after, strict=True)
    ]
    plain = output(generate, finished, "--prompts", file)
    assert plain.count("prompt: ") == plain.count("before: ") == plain.count("after:  ") == 4
    out = tmp_path / "answers.jsonl"
    output(generate, finished, "--prompts", file, "-n", 2, "--out", out)
    assert lines(out.read_text(encoding="utf-8")) == rows


def test_a_file_of_responses_is_scored_row_by_row(finished: Path, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"prompt": "How are you?", "response": "Fine."},
        {"messages": TURNS, "response": ["Fine.", "No"], "ended": [True, False]},
    )
    rows = lines(output(score, finished, "--prompts", file, "--json"))
    assert [(row["response"], row["ended"]) for row in rows] == [("Fine.", True), ("Fine.", True), ("No", False)]
    alone = json.loads(output(score, finished, "--prompt", "How are you?", "--response", "Fine.", "--json"))
    assert rows[0]["scores"] == pytest.approx(alone[0]["scores"], abs=1e-5)
    out = tmp_path / "scores.jsonl"
    output(score, finished, "--prompts", file, "--out", out)
    assert lines(out.read_text(encoding="utf-8")) == rows
    assert output(score, finished, "--prompts", file).splitlines()[0].startswith("reward")


def test_a_system_prompt_is_put_before_prompts_that_have_none(finished: Path, tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Be kind."}, *TURNS]
    file = written(tmp_path, {"prompt": "Why?"}, {"messages": own})
    rows = lines(output(generate, finished, "--prompts", file, "--system", "Be brief.", "--json"))
    brief = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert [row["prompt"] for row in rows] == [brief, own]
    asked = make_prompt([Message("system", "Be brief."), Message("user", "Why?")])
    assert rows[0]["after"] == list(load_run(finished).generate([asked])[1][0])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("Why?", r"line 2: no JSON"),
        ({"text": "Why?"}, r"line 2: say `prompt` or `messages`; the row has text"),
        ({"prompt": "x", "messages": TURNS}, "line 2: say `prompt` or `messages`"),
        ({"messages": TURNS[:2]}, "line 2: a prompt ends with the user's turn"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "line 2: a message is"),
        ({"messages": []}, "line 2: a prompt is a text, or a list of messages"),
        ("7", "line 2: a prompt is a text"),
    ],
)
def test_a_mistake_is_told_with_its_line(row: object, said: str, finished: Path, tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "x", "response": "y"}, row)
    for command in (generate, score):
        with pytest.raises(UserError, match=said):
            called(command, finished, "--prompts", file)


def test_what_cannot_be_meant_is_refused(finished: Path, tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "x"})
    for arguments, said in (
        ((), "either --prompt TEXT or --prompts FILE"),
        (("--prompt", "x", "--prompts", file), "either --prompt TEXT or --prompts FILE"),
        (("--prompts", tmp_path / "none"), "cannot be read"),
        (("--prompts", written(tmp_path / "..", "")), "no rows"),
    ):
        for command in (generate, score):
            with pytest.raises(UserError, match=said):
                called(command, finished, *arguments)
    with pytest.raises(UserError, match="line 1: say `response`"):
        called(score, finished, "--prompts", written(tmp_path, {"prompt": "x"}))
    with pytest.raises(UserError, match="each row says its own"):
        called(score, finished, "--prompts", file, "--response", "y")
