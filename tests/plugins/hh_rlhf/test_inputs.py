"""Files as people have them, five rows each (tests/data/inputs): read rightly, or refused with a reason and the lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import UserError
from morlaif_hh_rlhf import files
from morlaif_hh_rlhf.options import PreferencesOptions
from morlaif_hh_rlhf.preferences import preferences_dataset
from morlaif_hh_rlhf.rows import RowsDataset
from tests.helpers.places import ROOT

INPUTS = ROOT / "tests" / "data" / "inputs"
PLANTS = [f"How do I keep plant number {n} alive?" for n in range(5)]
LONG, SHORT = "Water it once a week and give it light.", "No idea."
READ: dict[str, tuple[list[str], list[tuple[str, str, float]], dict[str, int]]] = {
    "arena.jsonl": (PLANTS, [("good", "bad", p) for p in (1.0, 0.0, 0.5, 0.5, 1.0)], {}),
    "array.json": (PLANTS, [(LONG, SHORT, 1.0)] * 5, {}),
    "helpsteer3.jsonl": (PLANTS, [("good", "bad", p) for p in (1.0, 5 / 6, 2 / 3, 1 / 2, 1 / 3)], {}),
    "kto.jsonl": (PLANTS, [], {"answer called good or bad, without an opposite one to the same prompt": 5}),
    "messages.jsonl": (PLANTS, [], {}),
    "pandas_repr.csv": (PLANTS, [(LONG, SHORT, 1.0)] * 5, {}),
    "pku_saferlhf.jsonl": (PLANTS, [("bad", "good", 0.0), ("good", "bad", 1.0)] * 2 + [("bad", "good", 0.0)], {}),
    "repeated.jsonl": (PLANTS[:2], [(LONG, SHORT, 1.0)] * 5, {"repeated prompts": 3}),
    "semicolons.csv": (PLANTS, [(LONG, SHORT, 1.0)] * 5, {}),
    "sharegpt.jsonl": (PLANTS, [("good", "bad", 1.0)] * 5, {}),
    "text_parts.jsonl": (PLANTS, [("good", "bad", 1.0)] * 5, {}),
    "ultrafeedback_ratings.jsonl": (PLANTS, [("good", "bad", 1.0)] * 5, {}),
}
"""File -> prompts, pairs with P(the first is better), and what is counted."""


def _data(path: str | Path, **options: Any) -> RowsDataset:
    return preferences_dataset(PreferencesOptions(path=str(path), **{"held_out": 0.0, **options}))


@pytest.mark.parametrize("name", sorted(path.name for path in INPUTS.iterdir()))
def test_every_file_is_read_rightly_or_refused_with_a_reason(name: str) -> None:
    data = _data(INPUTS / name)
    if name not in READ:
        assert name == "two_null_prompts.jsonl"
        with pytest.raises(UserError, match=rf"1 of 5 rows are bad.*\n.*{name}:5: a prompt or response that is null"):
            list(data.prompts("train"))
        return
    prompts, pairs, counted = READ[name]
    assert [prompt.messages[-1].content for prompt in data.prompts("train")] == prompts
    assert [(pair.a, pair.b, pytest.approx(pair.p_a)) for pair in data.preferences("train")] == pairs
    assert data.skipped == counted


def _rows(folder: Path, bad: dict[int, str], n: int = 100) -> Path:
    """JSON lines, some of them replaced: line number, from 1 -> text."""
    good = (json.dumps({"prompt": f"q {row}", "chosen": "a", "rejected": "b"}) for row in range(n))
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{bad.get(line, row)}\n" for line, row in enumerate(good, start=1)))
    return path


BAD = {
    3: '{"prompt": null, "chosen": "a", "rejected": "b"}',
    7: "{not json",
    20: '{"prompt": "q", "chosen": "a"}',
    50: '{"prompt": "q", "chosen": 3, "rejected": "b"}',
    90: "[1]",
}


def test_bad_rows_are_counted_and_left_out_up_to_a_share(tmp_path: Path) -> None:
    path = _rows(tmp_path, BAD)
    for _ in range(2):
        data = _data(path)
        assert len(list(data.preferences("train"))) == 95
        unreadable = f"unreadable rows (the first: {path}:7)"
        assert data.skipped == {"a prompt or response that is null": 1, unreadable: 4}
    with pytest.raises(UserError) as raised:
        list(_data(path, bad_rows=0.04).prompts("train"))
    text = str(raised.value)
    assert "5 of 100 rows are bad, more than dataset.bad_rows allows (0.04)" in text
    assert f"{path}:3: a prompt or response that is null" in text
    assert f"{path}:7: not JSON" in text
    assert f"{path}:20: no key 'rejected'" in text
    assert f"{path}:50: 'chosen' is int" in text
    assert f"{path}:90: a JSON list" in text
    assert "raise dataset.bad_rows" in text


def test_the_first_ten_bad_rows_are_listed_and_the_same_reason_once(tmp_path: Path) -> None:
    path = _rows(tmp_path, dict.fromkeys(range(2, 40), '{"question": "q"}'))
    with pytest.raises(UserError) as raised:
        list(_data(path).prompts("train"))
    lines = [line for line in str(raised.value).splitlines() if line.startswith("  ")]
    assert [line.partition("jsonl:")[2].partition(":")[0] for line in lines] == [str(n) for n in range(2, 12)]
    assert [line.endswith(": the same") for line in lines] == [False] + [True] * 9


def test_a_large_file_without_a_usable_row_is_not_read_whole(tmp_path: Path) -> None:
    path = _rows(tmp_path, dict.fromkeys(range(1, 12_001), '{"question": "q"}'), 12_000)
    data = _data(path)
    with pytest.raises(UserError, match="no usable record"):
        list(data.prompts("train"))
    assert sum(data.skipped.values()) == 10_000


@pytest.mark.parametrize(
    ("name", "head", "delimiter"),
    [
        ("rows.csv", "prompt,chosen,rejected", ","),
        ("rows.csv", "prompt;chosen;rejected", ";"),
        ("rows.csv", 'prompt;chosen;rejected;"a, b"', ";"),
        ("rows.csv", "prompt\tchosen\trejected", "\t"),
        ("rows.tsv", "prompt\tchosen\trejected", "\t"),
        ("rows.tsv", "prompt\tchosen\trejected\ta,b,c,d,e", "\t"),
    ],
)
def test_cells_are_parted_by_commas_semicolons_or_tabs(tmp_path: Path, name: str, head: str, delimiter: str) -> None:
    path = tmp_path / name
    cells = ["Sky?", "Blue, or so; yes", "Green"] + ["x"] * (head.count(delimiter) - 2)
    with path.open("w", newline="") as file:
        file.write(head + "\n")
        csv.writer(file, delimiter=delimiter).writerow(cells)
    assert [(pair.a, pair.b) for pair in _data(path).preferences("train")] == [("Blue, or so; yes", "Green")]


def test_a_single_message_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["conversations", "chosen", "rejected"])
        turn = {"from": "human", "value": "Who's there?"}
        writer.writerow(
            [str([turn]), str({"from": "gpt", "value": "it's me"}), json.dumps({"from": "gpt", "value": "b"})]
        )
    (pair,) = _data(path).preferences("train")
    assert (pair.prompt.messages[0].content, pair.a, pair.b) == ("Who's there?", "it's me", "b")


def test_long_cells_are_read_and_longer_ones_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt\n{'long ' * 40_000}\n")
    assert len(list(_data(path).prompts("train"))) == 1
    monkeypatch.setattr(files, "LONGEST_CELL", 1000)
    with pytest.raises(UserError, match=r"rows\.csv:2: not CSV \(field larger"):
        list(_data(path).prompts("train"))
