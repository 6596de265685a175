"""A prompt is made of text, a message, messages or dictionaries, and is then the same prompt."""

from __future__ import annotations

from typing import Any

import pytest

from morlaif_core import Message, make_pair, make_prompt

TALK = [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Why?")]
DICTS = [{"role": turn.role, "content": turn.content} for turn in TALK]


@pytest.mark.parametrize("given", [TALK, tuple(TALK), iter(TALK), DICTS, {"messages": DICTS}, {"messages": TALK}])
def test_conversations(given: Any) -> None:
    assert make_prompt(given) == make_prompt(TALK)


@pytest.mark.parametrize("given", ["Hi", Message("user", "Hi"), {"role": "user", "content": "Hi"}])
def test_one_turn(given: Any) -> None:
    prompt = make_prompt(given)
    assert prompt == make_prompt([Message("user", "Hi")])
    assert make_prompt(prompt) is prompt
    assert make_pair(given, "Yes.", "No.") == make_pair(prompt, "Yes.", "No.")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([], "user's turn"),
        (TALK[:3], "user's turn"),
        ([{"role": "human", "content": "Hi"}], "role is one of system, user, assistant, not 'human'"),
        ([{"role": "user"}], "a message is"),
        ([{"role": "user", "content": None}], "a message is"),
        ({"prompt": "Hi"}, "a message is"),
        (["Hi"], "a message is"),
    ],
)
def test_what_is_no_prompt_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_prompt(given)
