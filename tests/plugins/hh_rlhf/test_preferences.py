"""TRL's forms from JSONL, CSV and Parquet; rows left out; errors that name file, line and key."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from morlaif_core import UserError
from morlaif_hh_rlhf.options import PreferencesOptions
from morlaif_hh_rlhf.preferences import preferences_dataset
from morlaif_hh_rlhf.rows import RowsDataset

Json = dict[str, Any]
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sky?"}]


def _say(text: str) -> list[Json]:
    return [{"role": "assistant", "content": text}]


FORMS: dict[str, Json] = {
    "standard": {"prompt": "Sky?", "chosen": "Blue", "rejected": "Green"},
    "conversational": {"prompt": ASK, "chosen": _say("Blue"), "rejected": _say("Green")},
    "implicit": {"chosen": ASK + _say("Blue"), "rejected": ASK + _say("Green")},
    "implicit beside a prompt": {"prompt": "Sky?", "chosen": ASK + _say("Blue"), "rejected": ASK + _say("Green")},
    "messages and text": {"prompt": ASK, "chosen": "Blue", "rejected": "Green"},
    "hh turns": {"prompt": "\n\nHuman: Sky?\n\nAssistant:", "chosen": " Blue", "rejected": " Green"},
    "hh implicit": {
        "chosen": "\n\nHuman: Sky?\n\nAssistant: Blue",
        "rejected": "\n\nHuman: Sky?\n\nAssistant: Green",
    },
}


def _write(path: Path, rows: list[Json]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            cells = ({key: v if isinstance(v, str) else json.dumps(v) for key, v in row.items()} for row in rows)
            writer.writerows(cells)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(text)
    return str(path)


def _data(path: str, **options: Any) -> RowsDataset:
    return preferences_dataset(PreferencesOptions(path=path, **{"held_out": 0.0, **options}))


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_every_kind_of_file(tmp_path: Path, form: str, kind: str) -> None:
    data = _data(_write(tmp_path / f"data.{kind}", [FORMS[form]]))
    (pair,) = data.preferences("train")
    assert (pair.a, pair.b, pair.p_a) == ("Blue", "Green", 1.0)
    turns = [(turn.role, turn.content) for turn in pair.prompt.messages]
    assert turns in ([("user", "Sky?")], [("system", "Be brief."), ("user", "Sky?")])
    assert [prompt.id for prompt in data.prompts("train")] == [pair.prompt.id]
    assert not list(data.preferences("test"))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("prompt", ["Sky?", ASK])
def test_prompts_alone_have_no_preferences(tmp_path: Path, kind: str, prompt: Any) -> None:
    data = _data(_write(tmp_path / f"data.{kind}", [{"prompt": prompt, "source": "x"}]))
    assert [prompt.messages[-1].content for prompt in data.prompts("train")] == ["Sky?"]
    assert not list(data.preferences("train"))


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    path = _write(tmp_path / "data.csv", [{"question": "Sky?", "good": "Blue, or\nso", "bad": "Green"}])
    data = _data(path, prompt_column="question", chosen_column="good", rejected_column="bad")
    assert [(pair.a, pair.b) for pair in data.preferences("train")] == [("Blue, or\nso", "Green")]


def test_unusable_rows_are_counted_by_reason(tmp_path: Path) -> None:
    user = [{"role": "user", "content": "q"}]
    tool, image = [{"role": "tool", "content": "x"}], [{"role": "user", "content": [{"type": "image"}]}]
    rows: list[Json] = [
        FORMS["standard"],
        {"prompt": "q", "chosen": "", "rejected": "b"},
        {"prompt": " ", "chosen": "a", "rejected": "b"},
        {"prompt": user + tool, "chosen": "a", "rejected": "b"},
        {"prompt": image, "chosen": "a", "rejected": "b"},
        {"prompt": user + _say("a"), "chosen": "a", "rejected": "b"},
        {"chosen": user + _say("a"), "rejected": ASK + _say("a")},
        {"prompt": user, "chosen": _say("a") + user, "rejected": _say("b")},
        {"prompt": user, "chosen": user, "rejected": _say("b")},
        {"prompt": user, "chosen": [], "rejected": _say("b")},
        {"chosen": user, "rejected": user},
    ]
    data = _data(_write(tmp_path / "data.jsonl", rows), bad_rows=0.5)
    for _ in range(2):
        assert len(list(data.preferences("train"))) == 1
        assert data.skipped == {
            "a message that is not text": 1,
            "a role other than system, user, assistant": 1,
            "empty prompt": 2,
            "empty response": 2,
            "prompt does not end with the user's turn": 1,
            "prompts differ": 1,
            "response is not the assistant's": 1,
            "response of several messages": 1,
        }


def test_text_that_is_not_unicode_is_left_out(tmp_path: Path) -> None:
    half = "\ud83d"
    rows: list[Json] = [
        FORMS["standard"],
        {"prompt": "q" + half, "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": "a" + half, "rejected": "b"},
        {"prompt": "q", "chosen": "a", "rejected": half},
        {"prompt": "\U0001f600", "chosen": "whole", "rejected": "b"},
    ]
    data = _data(_write(tmp_path / "data.jsonl", rows), bad_rows=0.6)
    assert [pair.a for pair in data.preferences("train")] == ["Blue", "whole"]
    assert data.skipped == {"text that is not Unicode": 3}


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xy"), st.sampled_from("xy")), min_size=1),
    held_out=st.floats(0, 0.99),
)
def test_held_out_loses_nothing_and_cuts_by_prompt(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], held_out: float
) -> None:
    made = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows]
    data = _data(_write(tmp_path_factory.mktemp("data") / "data.jsonl", made), held_out=held_out)
    train, test = list(data.preferences("train")), list(data.preferences("test"))
    assert sorted((pair.prompt.messages[0].content, pair.a, pair.b) for pair in train + test) == sorted(rows)
    assert not {pair.prompt.id for pair in train} & {pair.prompt.id for pair in test}
    more = _data(_write(tmp_path_factory.mktemp("data") / "data.jsonl", [*made, *made]), held_out=held_out)
    assert {prompt.id for prompt in more.prompts("test")} == {pair.prompt.id for pair in test}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("data.jsonl", '{"prompt": "a"}\nnot json\n', r"data\.jsonl:2: not JSON \(Expecting value"),
        ("data.jsonl", '{"prompt": ' + "9" * 5000 + "}\n", r"data\.jsonl:1: not JSON"),
        (
            "data.jsonl",
            '{"question": "a"}\n',
            r"data\.jsonl:1: no key 'prompt' \(the record has: question\); known layouts",
        ),
        ("data.jsonl", '{"prompt": "a", "chosen": "b"}\n', r"data\.jsonl:1: no key 'rejected'"),
        ("data.jsonl", '{"chosen": "b", "rejected": "c"}\n', r"data\.jsonl:1: no key 'prompt'"),
        ("data.jsonl", '{"prompt": null}\n', "no usable record; left out: a prompt or response that is null"),
        ("data.jsonl", '{"prompt": ["a"]}\n', r"data\.jsonl:1: 'prompt' holds an entry that is not a message"),
        ("data.jsonl", '{"prompt": {"a": 1}}\n', r"data\.jsonl:1: 'prompt' is dict"),
        ("data.jsonl", "", r"data\.jsonl: no records"),
        ("data.csv", "prompt,chosen,rejected\n", r"data\.csv: no records"),
        ("data.csv", "", r"data\.csv: no records"),
        ("data.csv", "prompt,chosen,rejected\na,b,c\na,b\n", r"data\.csv:3: not 3 cells"),
        ("data.csv", "prompt,chosen,rejected\na,b,c,d\n", r"data\.csv:2: not 3 cells"),
        ("data.csv", 'prompt\n"a"b\n', r"data\.csv:2: not CSV"),
        ("data.csv", "question\na\n", r"data\.csv:2: no key 'prompt'"),
        ("data.parquet", "PAR1 or not", r"data\.parquet: not a readable Parquet file"),
    ],
)
def test_bad_files_are_told_by_line_and_key(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        list(_data(str(path)).preferences("train"))


def test_a_csv_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"prompt\ncaf\xe9\n")
    with pytest.raises(UserError, match=r"data\.csv: not UTF-8"):
        list(_data(str(path)).prompts("train"))


def test_one_place_and_not_two() -> None:
    for options in ({}, {"path": "a.jsonl", "name": "owner/data"}):
        with pytest.raises(ValueError, match="either path"):
            PreferencesOptions(**options)


def _hub(monkeypatch: pytest.MonkeyPatch, *splits: str) -> list[Json]:
    import datasets

    asked: list[Json] = []

    def load_dataset(path: str, **arguments: Any) -> Any:
        asked.append({"path": path, **arguments})
        return {split: datasets.Dataset.from_list([{**FORMS["standard"], "prompt": split}]) for split in splits}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_the_hubs_splits_are_used_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _hub(monkeypatch, "train_prefs", "test_prefs")
    options = {"name": "o/d", "subset": "s", "split_train": "train_prefs", "split_test": "test_prefs"}
    data = preferences_dataset(PreferencesOptions(**options))
    assert [prompt.messages[0].content for prompt in data.prompts("train")] == ["train_prefs"]
    assert [pair.prompt.messages[0].content for pair in data.preferences("test")] == ["test_prefs"]
    assert asked == [{"path": "o/d", "name": "s"}]
    with pytest.raises(UserError, match="o/d has no split 'train'; it has: train_prefs, test_prefs"):
        list(preferences_dataset(PreferencesOptions(name="o/d")).prompts("train"))


def test_a_hub_data_set_without_test_split_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(monkeypatch, "train")
    data = preferences_dataset(PreferencesOptions(name="o/d", held_out=0.99))
    assert len(list(data.prompts("train"))) + len(list(data.prompts("test"))) == 1
