"""The shipped principle files: every one is readable, asks a question and shows examples with a known winner."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.helpers.places import PRINCIPLE_FILES

FOLDER = PRINCIPLE_FILES
PAPER = [
    *("helpfulness", "ethicality", "factuality", "toxicity", "sycophancy", "empathy"),
    *("relevance", "context", "bias", "understandability", "detail", "conciseness"),
]
WORSE = {"toxicity", "sycophancy", "bias"}


def read(name: str) -> dict[str, Any]:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def test_the_papers_twelve_and_politeness() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {*PAPER, "politeness"}


@pytest.mark.parametrize("name", [*PAPER, "politeness"])
def test_form(name: str) -> None:
    data = read(name)
    assert set(data) == {"question", "picks", "phrasings", "examples"}
    assert data["picks"] == ("worse" if name in WORSE else "better")
    questions = [data["question"], *data["phrasings"]]
    assert len(questions) in (2, 3)
    assert len(set(questions)) == len(questions)
    for question in questions:
        assert re.fullmatch(r"Which response \S.*[a-z]\?", question), question


@pytest.mark.parametrize("name", [*PAPER, "politeness"])
def test_examples(name: str) -> None:
    examples = read(name)["examples"]
    assert len(examples) >= 2
    assert {example["winner"] for example in examples} == {"a", "b"}, "a judge that always says a must not be right"
    for example in examples:
        assert set(example) == {"prompt", "a", "b", "winner"}
        assert all(isinstance(text, str) and text == text.strip() and text for text in example.values())
        assert example["a"] != example["b"]
