"""The layouts of people's data sets: what becomes prompt, pair and label, what is counted, what is an error."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import Preference, UserError
from morlaif_hh_rlhf.options import PreferencesOptions
from morlaif_hh_rlhf.preferences import preferences_dataset
from morlaif_hh_rlhf.rows import RowsDataset
from tests.helpers.layout_rows import KNOWN, QUESTIONS, Json, write_rows


def _data(path: str | Path, **options: Any) -> RowsDataset:
    return preferences_dataset(PreferencesOptions(path=str(path), **{"held_out": 0.0, **options}))


def _of(tmp_path: Path, layout: str, **options: Any) -> list[Preference]:
    return list(_data(write_rows(tmp_path / "rows.jsonl", KNOWN[layout].rows), **options).preferences("train"))


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("layout", KNOWN)
def test_every_layout_gives_its_prompts_and_pairs(tmp_path: Path, layout: str, kind: str) -> None:
    data = _data(write_rows(tmp_path / f"rows.{kind}", KNOWN[layout].rows))
    prompts = [prompt.messages[-1].content for prompt in data.prompts("train")]
    assert prompts == list(QUESTIONS[: len(prompts)])
    assert len(prompts) == (3 if layout == "kto" else 5)
    pairs = list(data.preferences("train"))
    assert {(pair.a, pair.b) for pair in pairs} <= {("one", "two")}
    expected = [p_a for p_a in KNOWN[layout].p_a if p_a is not None]
    assert [pair.p_a for pair in pairs] == pytest.approx(expected)


def _labels(pairs: list[Preference], principle: str) -> list[float | None]:
    return [(pair.labels or {})[principle] for pair in pairs]


def test_each_principle_has_the_labels_of_its_column(tmp_path: Path) -> None:
    columns = {"harmlessness": "safer_response_id", "on-topic": "better_response_id"}
    pairs = _of(tmp_path, "pku_saferlhf", labels=columns)
    assert _labels(pairs, "harmlessness") == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert _labels(pairs, "on_topic") == [pair.p_a for pair in pairs] == [1.0, 0.0, 1.0, 0.0, 1.0]
    safer = _of(tmp_path, "pku_saferlhf", label_column="safer_response_id")
    assert [pair.p_a for pair in safer] == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_ultrafeedbacks_aspects_are_labels(tmp_path: Path) -> None:
    pairs = _of(tmp_path, "ultrafeedback", labels={"help": "helpfulness", "honesty": "honesty", "all": "overall_score"})
    assert _labels(pairs, "help") == [1.0, 0.0, 1.0, 0.0]
    assert _labels(pairs, "honesty") == [0.5, 1.0, 0.0, None]
    assert _labels(pairs, "all") == [0.0] * 4


def test_helpsteers_and_the_arenas_overall_label_is_one_principles(tmp_path: Path) -> None:
    steered = _of(tmp_path, "helpsteer3", labels={"helpfulness": "overall_preference"})
    assert _labels(steered, "helpfulness") == [pair.p_a for pair in steered]
    assert _labels(_of(tmp_path, "arena", labels={"wit": "winner"}), "wit") == [1.0, 0.0, 0.5, 0.5, 0.0]


def test_trls_form_takes_labels_of_a_principle_as_probabilities(tmp_path: Path) -> None:
    rows: list[Json] = [
        {"prompt": q, "chosen": "one", "rejected": "two", "kind": kind}
        for q, kind in zip(QUESTIONS, [1, 0, 0.5, "0.25", None], strict=True)
    ]
    pairs = list(_data(write_rows(tmp_path / "rows.jsonl", rows), labels={"empathy": "kind"}).preferences("train"))
    assert _labels(pairs, "empathy") == [1.0, 0.0, 0.5, 0.25, None]
    assert {pair.p_a for pair in pairs} == {1.0}


def test_every_two_completions_make_a_pair(tmp_path: Path) -> None:
    completions = [{"response": str(n), "annotations": {"honesty": {"Rating": n}}} for n in (1, 4, 2)]
    path = write_rows(tmp_path / "rows.jsonl", [{"instruction": "Sky?", "completions": completions}])
    found = [(pair.a, pair.b, pair.p_a) for pair in _data(path).preferences("train")]
    assert found == [("1", "4", 0.0), ("1", "2", 0.0), ("4", "2", 1.0)]


def test_completions_that_cannot_be_paired_cost_no_others(tmp_path: Path) -> None:
    def said(text: str, rating: Any) -> Json:
        return {"response": text, "annotations": rating}

    rows = [
        {"instruction": "none?", "completions": []},
        {"instruction": "one?", "completions": [said("1", None)]},
        {"instruction": "unrated?", "completions": [said("1", None), said("2", None)]},
        {
            "instruction": "some?",
            "completions": [
                said("1", {"honesty": [{"Rating": 1}]}),
                said(" ", {"honesty": {"Rating": 5}}),
                said("2", {"honesty": {"Rating": "2"}}),
            ],
        },
    ]
    data = _data(write_rows(tmp_path / "rows.jsonl", rows), labels={"honesty": "honesty"})
    assert [(pair.a, pair.b, pair.p_a, pair.labels) for pair in data.preferences("train")] == [
        ("1", "2", 0.0, {"honesty": 0.0})
    ]
    assert data.skipped == {"no two responses": 2, "pair without an overall label": 1}


def test_other_spellings_of_a_tie_and_of_good(tmp_path: Path) -> None:
    row = KNOWN["arena"].rows[0]
    rows = [{**row, "winner": winner} for winner in ("tie", "tie (bothbad)", "both_bad")]
    data = _data(write_rows(tmp_path / "arena.jsonl", rows))
    assert [pair.p_a for pair in data.preferences("train")] == [0.5] * 3
    rows = [{"prompt": "q", "completion": text, "label": label} for text, label in (("a", "1.0"), ("b", "0.0"))]
    (pair,) = _data(write_rows(tmp_path / "kto.jsonl", rows)).preferences("train")
    assert (pair.a, pair.b, pair.p_a) == ("a", "b", 1.0)


def test_a_null_is_counted_like_an_empty_text(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": None, "chosen": "a", "rejected": "b"}]
    data = _data(write_rows(tmp_path / "rows.jsonl", rows), bad_rows=0.5)
    assert len(list(data.preferences("train"))) == 1
    assert data.skipped == {"a prompt or response that is null": 1}


def test_a_system_column_stands_before_every_layouts_prompt(tmp_path: Path) -> None:
    rows = [
        {"system": "S", "prompt": "q", "chosen": "a", "rejected": "b"},
        {"system": "S", "prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 0},
        {"system": "S", "prompt": "q"},
        {"system": "S", "messages": [{"role": "system", "content": "own"}, {"role": "user", "content": "q"}]},
    ]
    first = []
    for number, row in enumerate(rows):
        (prompt,) = _data(write_rows(tmp_path / f"{number}.jsonl", [row])).prompts("train")
        first.append([turn.content for turn in prompt.messages])
    assert first == [["S", "q"]] * 3 + [["own", "q"]]


def test_one_principle_is_not_named_twice() -> None:
    with pytest.raises(ValueError, match="named twice"):
        PreferencesOptions(path="x", labels={"on-topic": "a", "on_topic": "b"})


def test_single_answers_pair_once_with_one_of_the_other_kind(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "completion": text, "label": label, "safe": safe}
        for text, label, safe in [("a", 1, "true"), ("b", True, "true"), ("c", "False", "false"), ("d", 0, "true")]
    ]
    pairs = list(_data(write_rows(tmp_path / "rows.jsonl", rows), labels={"safety": "safe"}).preferences("train"))
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "c"), ("b", "d")]
    assert _labels(pairs, "safety") == [1.0, 0.5]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "completion": "a", "label": True}, "answer called good or bad, without an opposite one"),
        ({"prompt": "q", "completion": "a", "label": None}, "answer without a label"),
        ({"prompt": "q", "completion": "a", "score": 2}, r"columns of no known layout \(score\)"),
        ({"prompt": "q", "answer_1": "a", "answer_2": "b", "preferred": 1}, r"\(answer_1, answer_2, preferred\)"),
        ({"messages": [{"role": "user", "content": "q"}], "rating": 3}, r"columns of no known layout \(rating\)"),
        ({"prompt": "q", "response_0": "a", "response_1": "b"}, "two responses without a label .'better_response_id'"),
        (
            {"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": None},
            "pair without an overall label",
        ),
    ],
)
def test_answers_and_labels_that_give_no_preference_are_told(tmp_path: Path, row: Json, reason: str) -> None:
    data = _data(write_rows(tmp_path / "rows.jsonl", [row] * 3))
    assert [prompt.messages[-1].content for prompt in data.prompts("train")] == ["q"]
    assert not list(data.preferences("train"))
    skipped = dict(data.skipped)
    assert skipped.pop("repeated prompts") == 2
    ((said, count),) = skipped.items()
    assert count == 3
    assert re.search(reason, said), said


def test_a_prompt_column_with_other_facts_beside_it_is_left_alone(tmp_path: Path) -> None:
    data = _data(write_rows(tmp_path / "rows.jsonl", [{"prompt": "q", "source": "x", "id": 3, "label": None}]))
    assert list(data.prompts("train"))
    assert not data.skipped


def test_conversations_that_part_before_the_last_answer_are_counted(tmp_path: Path) -> None:
    row = KNOWN["arena"].rows[0]
    more = [{"role": "user", "content": "And cats?"}, {"role": "assistant", "content": "x"}]
    long = {**row, "conversation_a": row["conversation_a"] + more, "conversation_b": row["conversation_b"] + more}
    data = _data(write_rows(tmp_path / "rows.jsonl", [row, long]))
    assert len(list(data.preferences("train"))) == 1
    assert data.skipped == {"prompts differ": 1}


@pytest.mark.parametrize(
    ("layout", "change", "options", "says"),
    [
        ("pku_saferlhf", {}, {"labels": {"x": "safe_id"}}, r"rows\.jsonl:3: no key 'safe_id' \(the record has: prompt"),
        ("pku_saferlhf", {}, {"label_column": "best"}, r"rows\.jsonl:3: no key 'best'"),
        (
            "pku_saferlhf",
            {"better_response_id": 2},
            {},
            r"rows\.jsonl:3: 'better_response_id' is '2'; expected is 0 or 1",
        ),
        ("pku_saferlhf", {"better_response_id": True}, {}, r"'better_response_id' is 'True'"),
        ("pku_saferlhf", {"response_1": 7}, {}, r"rows\.jsonl:3: 'response_1' is int; expected is text"),
        ("pku_saferlhf", {"response_1": ...}, {}, r"rows\.jsonl:3: no key 'response_1'"),
        (
            "helpsteer3",
            {"overall_preference": 4},
            {},
            r"rows\.jsonl:3: 'overall_preference' is '4'; expected is -3 to 3",
        ),
        ("helpsteer3", {"overall_preference": "much"}, {}, r"'overall_preference' is 'much'"),
        (
            "arena",
            {"winner": "model_c"},
            {},
            r"rows\.jsonl:3: 'winner' is 'model_c'; expected is model_a, model_b or tie",
        ),
        ("arena", {"conversation_a": "hello"}, {}, r"rows\.jsonl:3: 'conversation_a' is text; expected is a list"),
        (
            "ultrafeedback",
            {},
            {"labels": {"x": "wit"}},
            r"rows\.jsonl:3: 'completions': no ratings 'wit'; there are: help",
        ),
        (
            "ultrafeedback",
            {"completions": [{"response": "a"}, {}]},
            {},
            r"rows\.jsonl:3: 'completions', 1 has no 'response'",
        ),
        ("kto", {"label": "good"}, {}, r"rows\.jsonl:3: 'label' is 'good'; expected is true or false"),
        (
            "messages",
            {"messages": [{"role": "user"}]},
            {},
            r"rows\.jsonl:3: 'messages' holds an entry that is not a mess",
        ),
        ("sharegpt", {"rejected": ...}, {}, r"rows\.jsonl:3: no key 'rejected'"),
        ("messages", {}, {"chosen_column": "good"}, r"rows\.jsonl:1: no key 'good' \(the record has: messages\)"),
    ],
)
def test_malformed_rows_are_told_by_file_row_and_field(
    tmp_path: Path, layout: str, change: Json, options: Json, says: str
) -> None:
    rows = [*KNOWN[layout].rows]
    if change or "labels" in options or "label_column" in options:
        rows[:2] = [{"prompt": "q"}] * 2
    rows[2] = {key: value for key, value in {**rows[2], **change}.items() if value is not ...}
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=says):
        list(_data(path, **options).preferences("train"))


def test_a_column_of_lists_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    turns = [[{"role": role, "content": text}] for role, text in [("user", "Who's there?"), ("assistant", "one")]]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([["prompt", "chosen", "rejected"], [str(turns[0]), str(turns[1]), json.dumps("two")]])
    (pair,) = _data(path).preferences("train")
    assert (pair.prompt.messages[0].content, pair.a) == ("Who's there?", "one")


def test_a_column_of_lists_as_numpy_writes_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt\n\"[{'role': 'user', 'content': 'a'}\n {'role': 'user', 'content': 'b'}]\"\n")
    with pytest.raises(UserError, match=r"rows\.csv:3: 'prompt' begins like a list of messages and is neither"):
        list(_data(path).prompts("train"))
    path.write_text('prompt\n"[{x}, {y}] are sets, why?"\n')
    assert [prompt.messages[0].content for prompt in _data(path).prompts("train")] == ["[{x}, {y}] are sets, why?"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"prompt": "a"}, 3]', r"rows\.json, item 2: a JSON int, where an object is needed"),
        ('[{"prompt": "a"}, {"question": "b"}]', r"rows\.json, item 2: no key 'prompt'"),
        ('[{"prompt": "a"', r"rows\.json: not JSON .* or the file one array"),
        ("[]", r"rows\.json: no records"),
        ('{\n "train": [{"prompt": "a"}]\n}', r"rows\.json: one JSON object over several lines; write each record"),
    ],
)
def test_a_bad_array_is_told_by_item(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        list(_data(path).prompts("train"))


def test_hhh_labels_that_name_no_better_one_leave_the_row_out(tmp_path: Path) -> None:
    labels: list[list[object]] = [[1, 0], ["1", 0], [None, 0], [1, 1], [1, 0, 0]]
    rows = [{"input": f"{len(k)}?", "targets": {"choices": list("abc"[: len(k)]), "labels": k}} for k in labels]
    data = _data(write_rows(tmp_path / "rows.jsonl", rows))
    assert [(pair.a, pair.p_a) for pair in data.preferences("train")] == [("a", 1.0)]
    assert data.skipped == {"choices of which not one of two is the better": 4}
