"""`morlaif evaluate-pms`: preference models against the labels of any pairs, whole and by subset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import load_run
from morlaif_core.cli.main import cli, guarded
from tests.helpers.small_run import PRINCIPLES

ANSWERS = ["Bread.", "Sorry.", "You knead the dough, let it rest, and bake it in the oven.", "Of course! Here is how."]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        {
            "prompt": f"How do I bake {what}?",
            "chosen": ANSWERS[i % 4],
            "rejected": ANSWERS[(i + 1) % 4],
            "subset": "ab"[i % 2],
        }
        for i, what in enumerate(("bread", "cake", "pie", "rolls", "tarts", "buns"))
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def called(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert guarded(lambda: cli(["evaluate-pms", *arguments], standalone_mode=False)) == code
    out, err = capsys.readouterr()
    return err if code else out


def by_hand(run: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of the rows whose chosen response scores higher, equal scores half."""
    prompts = [row["prompt"] for row in rows]
    scores = [load_run(run).reward()(prompts, [row[side] for row in rows]).scores for side in ("chosen", "rejected")]
    difference = scores[0].values.astype(float) - scores[1].values
    shares = ((difference > 0) + 0.5 * (difference == 0)).mean(axis=0)
    combined = difference.mean(axis=1)  # equal weights
    found = dict(zip(scores[0].principles, shares.tolist(), strict=True))
    return found | {"combined": float(((combined > 0) + 0.5 * (combined == 0)).mean())}


def test_accuracy_is_that_of_the_scores_whole_and_by_subset(
    finished: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    found = json.loads(called(capsys, str(finished), "--data", str(pairs), "--by", "subset", "--json"))["subsets"]
    assert list(found) == ["all", "a", "b"]
    for name, blocks in found.items():
        own = [row for row in rows if name in ("all", row["subset"])]
        assert blocks["pairs"] == len(own)
        got = {principle: block["accuracy"] for principle, block in blocks["accuracy"].items()}
        assert got == pytest.approx(by_hand(finished, own))
        for principle, block in blocks["accuracy"].items():
            assert block["ci95"][0] - 1e-9 <= got[principle] <= block["ci95"][1] + 1e-9
            assert block["n"] == len(own)
    printed = called(capsys, str(finished), "--data", str(pairs))
    assert "all: 6 pairs" in printed
    assert all(name in printed for name in (*PRINCIPLES, "combined"))


@pytest.mark.slow(seconds=13)
def test_a_data_set_by_name(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(called(capsys, str(finished), "--data", "demo", "--json"))
    assert 100 < found["accuracy"]["combined"]["n"] <= found["pairs"], "ties are left out"


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--data", "absent.jsonl"], "no such file"),
        (["--data", "PAIRS", "--by", "kind"], "line 1: --by kind: no such key"),
        (["--data", "PROMPTS"], "no labelled pairs; its rows need two responses"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], advice: str, finished: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = pairs.with_name("prompts.jsonl")
    prompts.write_text('{"prompt": "How?"}\n{"prompt": "Why?"}\n')
    given = [{"PAIRS": str(pairs), "PROMPTS": str(prompts)}.get(each, each) for each in arguments]
    assert advice in called(capsys, str(finished), *given, code=2)


def test_by_subset_reads_every_text_and_a_subset_without_pairs_keeps_the_others(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": "How do I bake bread?", "chosen": "Knead\u2028and\x85bake it.", "rejected": "Bread.", "subset": "a"},
        {"prompt": "How do I bake pie?", "chosen": "Sorry.", "rejected": "Sorry.", "subset": "same"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows), encoding="utf-8")
    found = json.loads(called(capsys, str(finished), "--data", str(file), "--by", "subset", "--json"))["subsets"]
    assert {name: blocks["pairs"] for name, blocks in found.items()} == {"all": 1, "a": 1, "same": 0}
    assert "same: 0 pairs" in called(capsys, str(finished), "--data", str(file), "--by", "subset")


@pytest.mark.parametrize(
    ("name", "held", "advice"),
    [
        ("a.jsonl.gz", b"not gzip", "cannot be read as JSON lines"),
        ("a.jsonl", b'{"subset": "caf\xe9"}\n', "cannot be read as JSON lines"),
        ("a.jsonl", b'{"subset": "all"}\n', "one value is 'all'"),
    ],
)
def test_a_file_that_cannot_be_split_is_told(
    name: str, held: bytes, advice: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(held)
    assert advice in called(capsys, str(finished), "--data", str(tmp_path / name), "--by", "subset", code=2)
