"""`check` reads local data: the prompt sets and what was left out, or why a run would stop there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from morlaif_core import Message, NoOptions, Preference, Prompt, Split, UserError, component, make_prompt
from morlaif_core.config.load import load_config
from morlaif_core.plugins.manager import Offer, Plugins
from morlaif_core.stages import look_at_data as module
from morlaif_core.stages.look_at_data import look_at_data

SETS = "prompts={pm: 20, validation: 0.2, calibration: 6, rl: null, evaluation: 4}"


def _rows(n: int) -> str:
    return "".join(json.dumps({"prompt": f"q {row}", "chosen": "a b", "rejected": "b"}) + "\n" for row in range(n))


def _check(file: Path | str, *sets: str) -> module.DataLook | None:
    return look_at_data(load_config(["demo"], [f"dataset={{use: preferences, path: {file}}}", SETS, *sets]))


def test_the_prompt_sets_and_what_was_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(_rows(80) + _rows(2) + '{"prompt": null}\n')
    look = _check(file)
    assert look is not None
    assert look.whole
    assert not look.problem
    assert {name: look.sets[name] for name in ("pm", "validation", "calibration", "evaluation")} == {
        "pm": 16,
        "validation": 4,
        "calibration": 6,
        "evaluation": 4,
    }
    assert look.left_out == {"a prompt or response that is null": 1, "repeated prompts": 2}


@pytest.mark.parametrize(
    ("text", "sets", "says"),
    [
        (None, (), "no such file"),
        ("", (), "no records in this file"),
        ('{"question": "x"}\n', (), "no key 'prompt'"),
        (_rows(20), (), "too few prompts for the sets"),
        (
            '{"prompt": "q"}\n' * 3,
            ("principles.politeness.judge=human",),
            "politeness.judge: human: the data set has no",
        ),
        ('{"prompt": "q"}\n' * 3, ("pairs.source=dataset",), "the data set has no preferences"),
    ],
)
def test_what_would_stop_a_run_is_a_problem(tmp_path: Path, text: str | None, sets: tuple[str, ...], says: str) -> None:
    file = tmp_path / "rows.jsonl"
    if text is not None:
        file.write_text(text)
    look = _check(file, *sets)
    assert look is not None
    assert says in look.problem


def test_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look_at_data(load_config(["demo"], ["dataset={use: hh-rlhf}"])) is None


class Endless:
    """A data set without an end, slow to read."""

    def __init__(self, pause: float) -> None:
        self.skipped: dict[str, int] = {}
        self._pause = pause

    def prompts(self, split: Split) -> Iterator[Prompt]:
        number = 0
        while True:
            time.sleep(self._pause)
            number += 1
            yield make_prompt([Message("user", f"{split} {number}")])

    def preferences(self, split: Split) -> Iterator[Preference]:
        return iter(())


def _stranger(dataset: object) -> module.DataLook | None:
    plugins = Plugins.load()

    def build(options: NoOptions) -> object:
        if isinstance(dataset, Exception):
            raise dataset
        return dataset

    odd = component("odd", build, NoOptions, "x")
    plugins.offers_by_kind["dataset"].append(Offer("strange", "strange", "1", "dataset", odd))
    return look_at_data(load_config(["demo"], ["dataset={use: odd}", SETS], plugins=plugins))


def test_reading_is_bounded_in_rows_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 50)
    look = _stranger(Endless(0))
    assert look is not None
    assert (look.whole, look.sets["pm"]) == (False, 16)
    monkeypatch.setattr(module, "SECONDS", 0.05)
    look = _stranger(Endless(0.02))
    # Two or three prompts say nothing of the others.
    assert look == module.DataLook({}, {}, whole=False)


def test_a_data_set_that_cannot_be_read_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MORLAIF_STRICT", raising=False)
    look = _stranger(KeyError("gone"))
    assert look is not None
    assert look.problem == "dataset: KeyError: 'gone'"


def test_a_key_of_other_data_sets_names_them() -> None:
    with pytest.raises(
        UserError, match=r"dataset\.path is an option of hh-rlhf, preferences: .*dataset\.use=preferences"
    ):
        load_config(["demo"], ["dataset.path=mine.jsonl"])
    with pytest.raises(UserError) as raised:
        load_config(["demo"], ["dataset.pth=mine.jsonl"])
    assert "is an option of" not in str(raised.value)
