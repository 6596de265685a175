"""HH-rlhf: real records, flawed ones, the cut by hash, the hub's subsets, and what is said where it cannot be had."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from morlaif_core import Preference, UserError, hh_text
from morlaif_hh_rlhf import morlaif_datasets
from morlaif_hh_rlhf.hh import hh_dataset
from morlaif_hh_rlhf.options import HHOptions

Pair = tuple[str, str]


def _line(prompt: str, chosen: str, rejected: str, other: str | None = None) -> str:
    texts = (prompt, chosen), (prompt if other is None else other, rejected)
    chosen, rejected = (f"\n\nHuman: {asked}\n\nAssistant: {said}" for asked, said in texts)
    return json.dumps({"chosen": chosen, "rejected": rejected})


def _file(folder: Path, *lines: str, name: str = "data.jsonl") -> str:
    path = folder / name
    text = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return str(path)


def _pairs(data: Any) -> list[Preference]:
    return [*data.preferences("train"), *data.preferences("test")]


def _key(pair: Preference) -> Pair:
    return hh_text(pair.prompt.messages) + "|" + pair.a, pair.b


@pytest.mark.skipif("MORLAIF_HH_SAMPLE" not in os.environ, reason="MORLAIF_HH_SAMPLE names no sample of HH-rlhf")
def test_the_real_sample_has_1149_usable_pairs() -> None:
    data = hh_dataset(HHOptions(path=os.environ["MORLAIF_HH_SAMPLE"]))
    train, test = list(data.preferences("train")), list(data.preferences("test"))
    assert len(train) + len(test) == 1149
    assert 80 <= len(test) <= 150
    assert not {pair.prompt.id for pair in train} & {pair.prompt.id for pair in test}
    assert all(pair.a and pair.b and pair.p_a == 1.0 for pair in train + test)
    assert all(pair.prompt.messages[-1].role == "user" for pair in train + test)
    assert any(len(pair.prompt.messages) > 2 for pair in train)
    assert data.skipped == {"empty response": 2, "prompts differ": 5, "repeated prompts": 1}
    assert {prompt.id for prompt in data.prompts("train")} == {pair.prompt.id for pair in train}


def test_turns_become_messages_and_the_last_answer_the_response(tmp_path: Path) -> None:
    prompt = "Hi\n\nwith a blank line\n\nAssistant: Hello.\n\nHuman: And: now?"
    data = hh_dataset(HHOptions(path=_file(tmp_path, _line(prompt, "Yes", "No"), name="a.jsonl.gz"), held_out=0))
    (pair,) = data.preferences("train")
    assert [(turn.role, turn.content) for turn in pair.prompt.messages] == [
        ("user", "Hi\n\nwith a blank line"),
        ("assistant", "Hello."),
        ("user", "And: now?"),
    ]
    assert (pair.a, pair.b, pair.p_a) == ("Yes", "No", 1.0)
    assert hh_text(pair.prompt.messages) == "\n\nHuman: " + prompt


def test_text_that_is_not_unicode_is_left_out(tmp_path: Path) -> None:
    lines = [
        _line("q", "a", "b"),
        _line("q\ud83d", "a", "b"),
        _line("q", "a\ude00", "b"),
        _line("r", "\U0001f600", "b"),
    ]
    data = hh_dataset(HHOptions(path=_file(tmp_path, *lines), bad_rows=1))
    assert sorted(pair.a for pair in _pairs(data)) == ["a", "\U0001f600"]
    assert data.skipped == {"text that is not Unicode": 2}


def test_flawed_rows_are_counted_once_however_often_they_are_met(tmp_path: Path) -> None:
    no_answer = json.dumps({"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi"})
    ends_human = json.dumps(dict.fromkeys(("chosen", "rejected"), "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"))
    prose = json.dumps(dict.fromkeys(("chosen", "rejected"), "Once\n\nHuman: a\n\nAssistant: b"))
    two_answers = json.dumps(dict.fromkeys(("chosen", "rejected"), "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c"))
    differ, empty = _line("q", "a", "b", other="r"), _line("q", " ", "b")
    lines = [
        differ,
        differ,
        empty,
        no_answer,
        ends_human,
        prose,
        two_answers,
        _line("", "a", "b"),
        _line("q", "a", "b"),
    ]
    data = hh_dataset(HHOptions(path=_file(tmp_path, *lines), bad_rows=1))
    for _ in range(2):
        assert len(_pairs(data)) == 1
        list(data.prompts("train"))
        assert data.skipped == {
            "does not end with an Assistant turn": 2,
            "empty response": 1,
            "empty turn in the prompt": 1,
            "not a conversation of Human and Assistant turns": 1,
            "prompt does not end with a Human turn": 1,
            "prompts differ": 2,
        }


_WORDS = st.text(alphabet="abc ", min_size=1, max_size=3).filter(str.strip)


@given(rows=st.lists(st.tuples(_WORDS, _WORDS, _WORDS), min_size=1, max_size=30), held_out=st.floats(0, 0.99))
def test_the_two_splits_hold_every_pair_and_share_no_prompt(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], held_out: float
) -> None:
    path = _file(tmp_path_factory.mktemp("hh"), *(_line(*row) for row in rows))
    data = hh_dataset(HHOptions(path=path, held_out=held_out))
    train, test = list(data.preferences("train")), list(data.preferences("test"))
    expected = Counter((f"\n\nHuman: {p.strip()}|{a.strip()}", b.strip()) for p, a, b in rows)
    assert Counter(map(_key, train + test)) == expected
    assert not {pair.prompt.id for pair in train} & {pair.prompt.id for pair in test}
    prompts = [prompt.id for split in ("train", "test") for prompt in data.prompts(split)]  # type: ignore[arg-type]
    assert sorted(prompts) == sorted({pair.prompt.id for pair in train + test})
    assert not (test and held_out == 0)


def test_the_cut_has_about_the_size_asked_for(tmp_path: Path) -> None:
    data = hh_dataset(HHOptions(path=_file(tmp_path, *(_line(f"q{n}", "a", "b") for n in range(2000))), held_out=0.2))
    assert 330 < len(list(data.prompts("test"))) < 470


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([_line("q", "a", "b"), "{oops"], r"data\.jsonl:2: not JSON \("),
        ([_line("q", "a", "b"), "", "[1]"], r"data\.jsonl:3: a JSON list, where an object is needed"),
        (['{"chosen": "x", "other": 1}'], r"data\.jsonl:1: key 'chosen'|data\.jsonl:1: key 'rejected' is needed"),
        (['{"chosen": 3, "rejected": "x"}'], r"data\.jsonl:1: key 'chosen' is needed, .*it is int"),
        ([], r"data\.jsonl: no records"),
        (["", "  "], r"data\.jsonl: no records"),
        ([_line("q", "", "")], r"data\.jsonl: no usable record; left out: empty response \(1\)"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        _pairs(hh_dataset(HHOptions(path=_file(tmp_path, *lines))))


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        hh_dataset(HHOptions(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(UserError, match="unknown kind of data file"):
        hh_dataset(HHOptions(path=_file(tmp_path, "x", name="data.txt.gz")))


def test_broken_gzip_and_foreign_encodings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(_line("q", "a", "b").encode() * 100)[:-20])
    with pytest.raises(UserError, match="broken gzip"):
        _pairs(hh_dataset(HHOptions(path=str(path))))
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(_line("q", "a", "b").encode() + b'\n{"chosen": "caf\xe9"}\n')
    with pytest.raises(UserError, match=r"latin\.jsonl:2: not UTF-8"):
        _pairs(hh_dataset(HHOptions(path=str(latin))))


def test_a_folder_with_both_splits_is_not_cut(tmp_path: Path) -> None:
    _file(tmp_path, *(_line(f"q{n}", "a", "b") for n in range(50)), name="train.jsonl.gz")
    _file(tmp_path, _line("other", "a", "b"), name="test.jsonl.gz")
    data = hh_dataset(HHOptions(path=str(tmp_path), held_out=0.5))
    assert len(list(data.prompts("train"))) == 50
    assert [prompt.messages[0].content for prompt in data.prompts("test")] == ["other"]
    _file(tmp_path, _line("other", "a", "b"), name="test.csv")
    with pytest.raises(UserError, match="both the test split"):
        hh_dataset(HHOptions(path=str(tmp_path)))


def test_all_subsets_of_the_hub_are_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[str, dict[str, Any]]] = []

    def load_dataset(name: str, **arguments: Any) -> Any:
        asked.append((name, arguments))
        rows = [json.loads(_line(arguments["data_dir"], "a", "b"))]
        return {split: datasets.Dataset.from_list(rows) for split in ("train", "test")}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = hh_dataset(HHOptions(subset="all", revision="v1"))
    subsets = ["harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"]
    assert [prompt.messages[0].content for prompt in data.prompts("test")] == subsets
    assert len(_pairs(data)) == 8
    assert asked == [("Anthropic/hh-rlhf", {"data_dir": subset, "revision": "v1"}) for subset in subsets]


def test_a_hub_that_cannot_be_reached_is_told_with_advice() -> None:
    with pytest.raises(UserError, match=r"Anthropic/hh-rlhf could not be loaded .* set dataset\.path"):
        list(hh_dataset(HHOptions()).prompts("train"))


def test_what_is_missing_is_said_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = next(offer for offer in morlaif_datasets() if offer.name == "hh-rlhf")
    assert offer.missing is not None
    assert offer.missing(HHOptions(path=_file(tmp_path, "{}"))) == []
    (line,) = offer.missing(HHOptions(path=str(tmp_path / "none.jsonl")))
    assert "no such file" in line
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (line,) = offer.missing(HHOptions())
    assert "HF_HUB_OFFLINE forbids the hub" in line
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    (line,) = offer.missing(HHOptions())
    assert "cannot be reached" in line
    (tmp_path / "Anthropic___hh-rlhf" / "default-1" / "0.0.0" / "abc").mkdir(parents=True)
    assert offer.missing(HHOptions()) == []
