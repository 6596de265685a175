"""Measures of other packages: found by name, part of the judge's identity, their mistakes told with their package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import Principle, Request, UserError, build, make_prompt
from morlaif_core.testing import check_feedback_provider
from morlaif_rules import morlaif_feedback_providers, plugged
from tests.helpers.documents import ROOT, blocks

PLAIN = build("feedback_provider", "rules").identity
(EXAMPLE,) = (block for block in blocks(ROOT / "docs" / "rules-judge.md") if block.language == "python")


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a module with measures."""

    def install(code: str, version: str = "1.0", **entries: str) -> None:
        (tmp_path / "curious.py").write_text(code)
        info = tmp_path / f"curious-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: curious\nVersion: {version}\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[{plugged.GROUP}]\n{lines}")
        forget()

    def forget() -> None:
        sys.modules.pop("curious", None)
        plugged.plugged.cache_clear()
        plugged.load.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield install
    forget()


def judge(**measures: str) -> Any:
    return build("feedback_provider", "rules", measures=measures)


def p_first(provider: Any, first: str, second: str, picks: Any = "better") -> float:
    principle = Principle("curiosity", "Which is more curious?", picks)
    return float(provider.ask_many([Request(make_prompt("Hi"), first, second, principle)])[0].p_first)


def test_the_example_of_the_page(offered: Callable[..., None]) -> None:
    offered(EXAMPLE.text, questions="curious:Questions")
    curious = judge(curiosity="questions")
    assert p_first(curious, "Why? How?", "No.") == pytest.approx(1 / (1 + 2.718281828**-4))
    assert p_first(curious, "Why? How?", "No.", "worse") == pytest.approx(1 - p_first(curious, "Why? How?", "No."))
    assert p_first(judge(curiosity="-questions"), "Why?", "No.") < 0.5
    assert p_first(curious, "Yes.", "No.") == 0.5
    (component,) = morlaif_feedback_providers()
    check_feedback_provider(component, {"measures": {"curiosity": "questions"}})


def test_a_function_is_a_measure(offered: Callable[..., None]) -> None:
    offered("def letters(prompt, response):\n    return len(response)\n", letters="curious:letters")
    assert p_first(judge(curiosity="letters"), "ab", "a") == pytest.approx(0.731, abs=1e-3)


def test_identity(offered: Callable[..., None]) -> None:
    offered(
        EXAMPLE.text + "\ndef plain(prompt, response):\n    return 0.0\n",
        questions="curious:Questions",
        plain="curious:plain",
    )
    assert build("feedback_provider", "rules").identity == PLAIN, "what is installed and not used does not count"
    known = {judge(curiosity=term).identity for term in ("questions", "plain", "brevity")}
    assert len(known) == 3


def test_of_a_plain_function_the_version_counts(offered: Callable[..., None], tmp_path: Path) -> None:
    seen = set()
    for version in ("1.0", "2.0"):
        offered("def plain(prompt, response):\n    return 0.0\n", version, plain="curious:plain")
        seen.add(judge(curiosity="plain").identity)
        (tmp_path / f"curious-{version}.dist-info" / "METADATA").unlink()
        for file in (tmp_path / f"curious-{version}.dist-info").iterdir():
            file.unlink()
        (tmp_path / f"curious-{version}.dist-info").rmdir()
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("m = 5", "must be callable"),
        ("class m:\n    unit = 0\n    def __call__(self, prompt, response):\n        return 0.0", "a unit above 0"),
        ("def m(prompt, response):\n    return 1 / 0", "failed: ZeroDivisionError"),
        ("def m(prompt, response):\n    return float('nan')", "returned nan"),
    ],
)
def test_mistakes_are_told_with_the_package(offered: Callable[..., None], code: str, complaint: str) -> None:
    offered(code, m="curious:m")
    with pytest.raises(UserError, match=rf"measure 'm' of curious 1\.0 .*{complaint}"):
        p_first(judge(curiosity="m"), "a", "b")


def test_a_name_that_is_not_there_lists_all(offered: Callable[..., None]) -> None:
    offered("def letters(prompt, response):\n    return 0.0\n", letters="curious:letters")
    with pytest.raises(
        UserError, match=r"'leters' .* is no measure; there are brevity.*letters.* Did you mean 'letters'"
    ):
        judge(curiosity="leters")


def test_a_built_in_name_cannot_be_taken(offered: Callable[..., None]) -> None:
    offered("def brevity(prompt, response):\n    return 0.0\n", brevity="curious:brevity", other="curious:brevity")
    with pytest.warns(UserWarning, match=r"'brevity' of curious 1\.0 is not used: this judge has one"):
        judge(curiosity="other")
    assert p_first(judge(curiosity="brevity"), "word " * 100, "word " * 10) < 0.5
