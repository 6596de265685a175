"""What `morlaif preview` keeps of responses and scores, and what it makes anew: more, less, damage, another seed or set."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from morlaif_analysis.preview.command import compared
from morlaif_core import load_run
from tests.helpers.previews import SMALL, called, result_of, scores_of, set_settings, started, texts_of

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_again_needs_no_model_and_says_the_same(copied: Path) -> None:
    before = result_of(copied), (copied / "preview" / "scores.npz").read_bytes()
    process = started(copied, *SMALL, "--json", pictures=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.splitlines()[-1] == "False"
    assert "sampling" not in err
    assert json.loads(out) == result_of(copied) == before[0]
    assert (copied / "preview" / "scores.npz").read_bytes() == before[1]


def test_more_keeps_what_is_there_and_equals_all_at_once(
    copied: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, scored = texts_of(copied), scores_of(copied)["values"]
    assert called(copied, "--prompts", "70", "--responses", "6") == 0
    # Another round for the 64 prompts of whole chunks, and two rounds for the 6 new ones.
    assert "sampling 304 responses" in capsys.readouterr().err
    after = texts_of(copied)
    assert {name: texts[:4] for name, texts in after.items() if name in before} == before
    assert np.array_equal(scores_of(copied)["values"][:64, :4], scored)
    assert any(texts[:4] != texts[4:] for texts in after.values())
    fresh = Path(shutil.copytree(trained, tmp_path / "fresh"))
    assert called(fresh, "--prompts", "70", "--responses", "6") == 0
    assert texts_of(fresh) == after
    assert result_of(fresh) == result_of(copied)


def test_less_uses_the_first_ones_and_keeps_the_others(copied: Path) -> None:
    before = texts_of(copied), scores_of(copied)["values"]
    _, result, _ = compared(copied, prompts=10, responses=2)
    assert (result["prompts"], result["responses"]) == (10, 2)
    values = before[1][:10, :2].astype(np.float64)
    assert result["baseline"]["random"]["detail"] == pytest.approx(values[:, :, 2].mean())
    assert texts_of(copied) == before[0]
    assert np.array_equal(scores_of(copied)["values"], before[1])


def test_without_a_number_all_prompts_of_a_small_set(copied: Path) -> None:
    _, result, _ = compared(copied, responses=2, scalarizers=("weighted",))
    assert result["prompts"] == 70


@pytest.mark.parametrize("torn", [10, 5_000])
def test_a_torn_file_goes_on_with_the_same_rows(copied: Path, torn: int) -> None:
    whole, result = texts_of(copied), result_of(copied)
    file = copied / "preview" / "responses.jsonl"
    os.truncate(file, file.stat().st_size - torn)
    scores = copied / "preview" / "scores.npz"
    os.truncate(scores, scores.stat().st_size - torn)
    assert called(copied, *SMALL) == 0
    assert texts_of(copied) == whole
    assert result_of(copied) == result


@pytest.mark.slow(seconds=5)
def test_killed_in_the_middle_goes_on_with_the_same_rows(shown: Path, trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    file = run / "preview" / "responses.jsonl"
    process = started(run, *SMALL)
    while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") > 1):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert file.exists()
    assert called(run, *SMALL) == 0
    assert texts_of(run) == texts_of(shown)
    assert result_of(run) == result_of(shown)


def test_another_seed_sets_the_old_rows_aside(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = texts_of(copied)
    assert called(copied, *SMALL, "--seed", "7") == 0
    said = capsys.readouterr().err
    (away,) = (copied / "replaced").glob("*/preview/responses.jsonl")
    assert str(away.parent) in said
    assert f"is of seed {result_of(away.parents[1])['settings']['seed']}" in said
    assert texts_of(copied) != before
    assert list(texts_of(copied)) == list(before)


def test_a_set_that_shrinks_or_grows_keeps_what_is_in_it(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(copied, "--responses", "4") == 0
    before, scored, first = texts_of(copied), scores_of(copied)["values"], result_of(copied)
    assert (first["prompts"], len(before)) == (70, 70)
    set_settings(copied, prompts__rl=50)
    process = started(copied, "--responses", "4")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (0, "False"), err
    assert result_of(copied)["prompts"] == 50
    means = scored[:50].astype(np.float64).mean(axis=(0, 1))
    assert list(result_of(copied)["baseline"]["random"].values()) == pytest.approx(means.tolist())
    capsys.readouterr()
    assert called(copied, "--prompts", "51") == 2
    assert "the run's RL set has 50" in capsys.readouterr().err
    set_settings(copied, prompts__rl=90)
    assert called(copied, "--responses", "4") == 0
    assert "sampling 80 responses" in capsys.readouterr().err
    after = texts_of(copied)
    with load_run(copied).workbench() as bench:
        assert list(after) == [prompt.id for prompt in bench.prompts("rl")]
    assert {name: texts for name, texts in after.items() if name in before} == before
    assert np.array_equal(scores_of(copied)["values"][:70], scored)
    assert not (copied / "replaced").exists()
    set_settings(copied, prompts__rl=70)
    assert called(copied, "--responses", "4") == 0
    assert result_of(copied) == first


def test_the_rest_of_the_prompts_is_known_without_a_model_once_it_was_read(copied: Path) -> None:
    before = texts_of(copied)
    set_settings(copied, prompts__rl=None, prompts__max_tokens=None)
    _, result, _ = compared(copied, responses=2, scalarizers=("weighted",))
    assert result["prompts"] > 70
    assert texts_of(copied).items() >= before.items()
    process = started(copied, "--responses", "2")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (0, "False"), err
    assert result_of(copied)["prompts"] == result["prompts"]


@pytest.mark.parametrize("damage", ["a short cell", "a short row", "no JSON", "another prompt"])
def test_a_damaged_cell_is_made_anew(copied: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole, result = texts_of(copied), result_of(copied)
    file = copied / "preview" / "responses.jsonl"
    lines = file.read_text().splitlines()
    cell = json.loads(lines[1])
    if damage == "a short cell":
        cell["rows"] = cell["rows"][:10]
    elif damage == "a short row":
        cell["rows"][3]["responses"].pop()
    elif damage == "another prompt":
        cell["rows"][3]["messages"][0]["content"] += "!"
    lines[1] = "{" if damage == "no JSON" else json.dumps(cell)
    file.write_text("\n".join(lines) + "\n")
    assert called(copied, *SMALL) == 0
    said = capsys.readouterr().err
    assert "1 damaged lines are taken out" in said
    assert "sampling 128 responses" in said
    assert "scoring" not in said
    assert {name: texts_of(copied)[name] for name in whole} == whole
    assert result_of(copied) == result
    assert called(copied, *SMALL) == 0
    assert "damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["checksums", "reference_prompts", "reference", "prompts", "values", "format"])
def test_scores_without_an_array_are_made_anew(copied: Path, lost: str, capsys: pytest.CaptureFixture[str]) -> None:
    result, stored = result_of(copied), scores_of(copied)
    del stored[lost]
    np.savez(copied / "preview" / "scores.npz", **stored)
    assert called(copied, *SMALL) == 0
    said = capsys.readouterr().err
    assert "scores.npz is damaged" in said
    assert "sampling" not in said
    assert result_of(copied) == result


def test_a_file_that_is_none_of_ours_is_set_aside(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "preview" / "responses.jsonl").write_text("[]\n")
    assert called(copied, *SMALL) == 0
    assert "responses.jsonl cannot be read" in capsys.readouterr().err
    assert [file.read_text() for file in (copied / "replaced").glob("*/preview/responses.jsonl")] == ["[]\n"]
