"""Reads a judge's prompt back, for servers that play a judge in tests."""

from __future__ import annotations

import re
from typing import NamedTuple

from morlaif_core.feedback.asking.styles import CUT_OFF, SHOTS, STEM, STEMMED, STYLES
from morlaif_core.feedback.types import Mode


class Parsed(NamedTuple):
    """What stands in a judge's messages: turns as (role, text), the two responses, what is asked and how.

    questions: all of a joint request, else the one. mode: logprob stands for text too, which is asked alike.
    """

    turns: list[tuple[str, str]]
    first: str
    second: str
    question: str
    questions: tuple[str, ...]
    abstain: bool
    mode: Mode


def parse_judge_messages(user: str) -> Parsed:
    """Read back what `render` wrote into the user turn; for test servers. Raises ValueError for other text."""
    head = re.match(r"<(?:system|user|assistant) ([0-9a-f]{4,64})>\n", user)
    if head is None:
        raise ValueError("not a judge's prompt: it does not start with a fenced turn")
    fence = head[1]
    blocks = re.findall(rf"<(\w+) {fence}>\n(.*?)\n</\1 {fence}>", user, re.S)
    texts = dict(blocks)
    _, closed, tail = user.partition(f"\n</response_B {fence}>\n\n")
    for letter in "AB":
        tail = tail.removeprefix(f"Response {letter}{CUT_OFF}")
    found = next((key for key, style in STYLES.items() if tail.endswith("\n" + style.ask)), None)
    if not {"response_A", "response_B"} <= texts.keys() or not closed or found is None:
        raise ValueError("not a judge's prompt: an answer or the question is missing")
    mode, abstain = found
    questions = _questions(tail.removesuffix(STYLES[found].ask)[:-1], mode)
    turns = [(name, text) for name, text in blocks if not name.startswith("response_")]
    return Parsed(turns, texts["response_A"], texts["response_B"], questions[0], questions, abstain, mode)


def parse_own_words(user: str) -> Parsed:
    """Read a user turn written by `judging.template`: our fences, in the user's words. Raises ValueError for other text.

    The question is all that follows the fences, or each of the numbered lines there; "Verdict: " asks for a rationale.
    """
    blocks = re.findall(r"<(\w+) ([0-9a-f]{4,64})>\n(.*?)\n</\1 \2>", user, re.S)
    texts = {name: text for name, _, text in blocks}
    if not {"response_A", "response_B"} <= texts.keys():
        raise ValueError("not a judge's prompt: an answer is missing")
    tail = re.split(r"</\w+ [0-9a-f]{4,64}>", user)[-1]
    numbered = tuple(re.findall(r"(?<!\w)\d+\. (.+)$", tail, re.M))
    questions = numbered if len(numbered) > 1 else (tail.strip(),)
    mode: Mode = "joint" if len(questions) > 1 else "rationale" if "Verdict: " in tail else "text"
    turns = [(name, text) for name, _, text in blocks if not name.startswith("response_")]
    return Parsed(turns, texts["response_A"], texts["response_B"], questions[0], questions, False, mode)


def _questions(asked: str, mode: Mode) -> tuple[str, ...]:
    """Return the questions, without the examples before them, whose lines are JSON and letters."""
    start = "Questions:" if mode == "joint" else "Question: "
    examples, found, rest = asked.partition(start) if asked.startswith(start) else asked.partition("\n" + start)
    if not found or (examples and not examples.startswith(SHOTS)):
        raise ValueError("not a judge's prompt: no question")
    if mode != "joint":
        return (rest,)
    head, *lines = rest.split("\n")
    stem = STEM if head == STEMMED else ""
    return tuple(stem + line.partition(". ")[2] for line in lines)
