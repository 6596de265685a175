"""`morlaif preview` on a tiny real run: its numbers, pictures, judges, and what it says of wrong use."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from morlaif_analysis.preview.best_of_n import Grid
from morlaif_analysis.preview.command import compared
from morlaif_analysis.preview.trade_offs import trade_offs
from morlaif_core import load_run, workbench
from tests.helpers.distributions import HEAD, add_distribution, hook
from tests.helpers.failing_scores import let_fail, one_in
from tests.helpers.previews import SMALL, called, result_of, scores_of, set_settings, texts_of
from tests.helpers.small_run import PRINCIPLES, small

PICTURES = ("scores", "conflict", "front", "differ", "regret")


def test_numbers_are_those_of_the_stored_scores(shown: Path) -> None:
    result, stored, texts = result_of(shown), scores_of(shown), texts_of(shown)
    values = stored["values"][:40, :3].astype(np.float64)
    assert tuple(stored["principles"]) == PRINCIPLES
    grid = Grid(values, PRINCIPLES, tuple(texts)[:40])
    means = values.mean(axis=2)
    expected = trade_offs(grid, {"weighted": means, "max_min": values.min(axis=2)}, result["settings"]["seed"])
    for name in ("weighted", "max_min"):
        picked = values[np.arange(40), (means if name == "weighted" else values.min(axis=2)).argmax(axis=1)]
        for column, principle in enumerate(PRINCIPLES):
            row = result["scalarizers"][name]
            assert row["scores"][principle]["mean"] == pytest.approx(picked[:, column].mean(), abs=1e-9)
            again = expected["scalarizers"][name]["scores"][principle]
            assert row["scores"][principle]["mean"] == pytest.approx(again["mean"], abs=1e-9)
            assert row["scores"][principle]["ci95"] == pytest.approx(again["ci95"], abs=1e-9)
            gain = (picked - values.mean(axis=1))[:, column].mean()
            assert row["gain"][principle]["mean"] == pytest.approx(gain, abs=1e-9)
    assert result["baseline"] == expected["baseline"]
    assert result["conflict"] == expected["conflict"]


def test_stored_scores_are_those_of_the_run(shown: Path) -> None:
    stored, texts = scores_of(shown), texts_of(shown)
    with load_run(shown).workbench() as bench:
        prompts = bench.prompts("rl")
        assert list(texts) == [prompt.id for prompt in prompts[:64]]
        asked = [(prompt, text) for prompt in prompts[:5] for text in texts[prompt.id][:4]]
        scores = bench.scores(*zip(*asked, strict=True))
        assert np.allclose(stored["values"][:5, :4].reshape(20, 3), scores.values, atol=1e-5)
        assert np.allclose(stored["reference"], bench.reference().values, atol=1e-5)


def test_what_is_compared(shown: Path) -> None:
    result = result_of(shown)
    assert set(result) == {
        *("format", "prompts", "responses", "principles", "unrewarded", "in_sample", "baseline", "scalarizers"),
        *("conflict", "differ", "regret", "front", "left_out", "failed", "settings"),
    }
    assert (result["prompts"], result["responses"], result["principles"]) == (40, 3, list(PRINCIPLES))
    names = set(result["scalarizers"])
    assert {f"single: {name}" for name in PRINCIPLES} | {"weighted", "leximin", "soft_max_min"} <= names
    assert result["settings"]["configured"] == "soft_max_min temperature=0.3"
    assert "features" in result["left_out"]["gated"]
    best = result["baseline"]["best"]
    for name in PRINCIPLES:
        assert result["scalarizers"][f"single: {name}"]["scores"][name]["mean"] == pytest.approx(best[name])


@pytest.mark.usefixtures("no_pictures")
def test_a_prompt_with_a_score_that_failed_is_left_out_and_counted(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    with monkeypatch.context() as patch:
        let_fail(patch, "detail", one_in(20))
        assert called(run, *SMALL, "--judge", "40") == 0
    result, stored = result_of(run), scores_of(run)
    values = stored["values"][:40, :3].astype(np.float64)
    whole = ~np.isnan(values).any(axis=(1, 2))
    assert 20 < result["prompts"] == whole.sum() < 40
    missing = int(np.isnan(values[:, :, PRINCIPLES.index("detail")]).sum())
    assert result["failed"] == {"prompts": 40 - whole.sum(), "principles": {"detail": missing}}
    printed = capsys.readouterr().out
    assert f"{40 - whole.sum()} more prompts are left out: a response has no score (detail {missing})" in printed
    for column, name in enumerate(PRINCIPLES):
        assert result["baseline"]["random"][name] == pytest.approx(values[whole, :, column].mean())
    assert all(block["judged"]["detail"]["n"] <= whole.sum() for block in result["scalarizers"].values())
    assert np.isfinite(stored["reference"]).all()
    # What failed is known: it is not scored again, and no model is loaded.
    monkeypatch.setattr(workbench, "load_models", lambda *args: pytest.fail("loaded"))
    assert called(run, *SMALL) == 0


@pytest.mark.usefixtures("no_pictures")
def test_where_most_scores_failed_there_is_no_preview(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    let_fail(monkeypatch, "detail", lambda text: not one_in(3)(text))
    assert called(shutil.copytree(trained, tmp_path / "run"), *SMALL) == 2
    assert "responses have no score (detail " in capsys.readouterr().err


def test_pictures_show_something(shown: Path) -> None:
    from PIL import Image

    for name in PICTURES:
        with Image.open(shown / "preview" / f"{name}.png") as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=10**6)
        assert min(picture.size) > 100
        assert colours is not None
        assert len(colours) > 20, name


def test_what_is_in_the_way_is_said(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "preview").write_text("")
    assert called(run, *SMALL) == 2
    assert "preview is a file" in capsys.readouterr().err
    (run / "preview").unlink()
    (run / "preference_models" / "calibration.json").unlink()
    assert called(run, *SMALL) == 1
    said = capsys.readouterr().err
    assert "calibration.json" in said
    assert "make room" not in said


def test_a_principle_of_weight_0_is_marked(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_settings(copied, principles__detail__weight=0.0)
    assert called(copied, *SMALL) == 0
    result, text = result_of(copied), capsys.readouterr().out
    assert result["unrewarded"] == ["detail"]
    assert not any("detail" in row["sacrificed"] for row in result["scalarizers"].values())
    assert set(result["front"]["reference"]) == {"helpfulness", "conciseness"}
    assert "detail (weight 0)" in text
    assert "weight 0: not in the reward" in text
    assert "detail is sacrificed" not in text
    assert "sacrifices detail" not in text


@pytest.mark.usefixtures("no_pictures")
def test_judges_cut_short_leave_all_other_numbers(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "preview" / "preview.json").unlink()
    set_settings(copied, budget={"requests": 1})
    assert called(copied, *SMALL, "--judge", "30") == 1
    captured = capsys.readouterr()
    assert "budget" in captured.err
    assert "on the front" in captured.out
    result = result_of(copied)
    assert result["settings"]["judged_prompts"] is None
    assert not any("judged" in row for row in result["scalarizers"].values())


def test_given_scalarizers_replace_the_list(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("max-min", "{use: soft-max-min, temperature: 0.3}", "{use: single, principle: detail}")
    assert called(copied, *SMALL, *(part for text in given for part in ("--scalarizer", text))) == 0
    result, text = result_of(copied), capsys.readouterr().out
    assert list(result["scalarizers"]) == ["max_min", "soft_max_min temperature=0.3", "single: detail"]
    assert result["settings"]["configured"] == "soft_max_min temperature=0.3"
    for line in ("soft_max_min temperature=0.3 (configured)", "of 9 intervals", "in sample"):
        assert line in text


def test_a_stranger_is_compared_and_a_broken_one_left_out(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = (
        "[component('last', lambda o: lambda s, t: s.values[:, -1], NoOptions, 'the last one'), "
        "component('broken', lambda o: lambda s, t: s.nothing, NoOptions, 'fails'), "
        "component('leaving', lambda o: leaves, NoOptions, 'ends the process')]"
    )
    leaves = "import sys\ndef leaves(s, t):\n    sys.exit('cannot\\n  go on')\n"
    add_distribution(tmp_path, "stranger", HEAD + leaves + hook("morlaif_scalarizers", offers))
    monkeypatch.syspath_prepend(str(tmp_path))
    _, result, _ = compared(copied, prompts=40, responses=3)
    assert result["scalarizers"]["last"]["scores"] == result["scalarizers"]["single: detail"]["scores"]
    assert result["left_out"]["broken"].startswith("AttributeError")
    assert result["left_out"]["leaving"] == "SystemExit: cannot go on"
    sys.modules.pop("stranger_module", None)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--scalarizer", "max_mim"), "Did you mean 'max_min'?"),
        (("--scalarizer", "{use: soft_max_min, temprature: 1}"), "temperature"),
        (("--scalarizer", "{use: [}"), "not YAML"),
        (("--scalarizer", "[weighted]"), "say a name"),
        (
            ("--scalarizer", "{use: single, principle: detial}"),
            "no principle of the reward: helpfulness, conciseness, detail",
        ),
        (("--scalarizer", "gated"), "it needs features"),
        (("--scalarizer", "{use: owa, omega: [1, 2]}"), "2 weights for 3 principles"),
        (("--responses", "1"), "--responses"),
        (("--prompts", "71"), "say --prompts 70"),
        (("--judge", "41", *SMALL), "say --prompts 41"),
        (("--judge", "300"), "say --prompts 300"),
    ],
)
def test_wrong_use_says_what_to_do(
    trained: Path, tmp_path: Path, arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    assert called(run, *arguments) == 2
    err = capsys.readouterr().err
    assert part in err
    assert "Traceback" not in err
    assert "sampling" not in err
    assert not (run / "preview").exists()


@pytest.mark.parametrize(
    ("judge", "part"), [("human", "no judge to ask"), ({"use": "openai", "model": "gpt-4o-mini"}, "OPENAI_API_KEY")]
)
def test_judges_that_cannot_be_asked_are_said_first(
    trained: Path,
    tmp_path: Path,
    judge: Any,
    part: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    name = judge
    if isinstance(judge, dict):
        set_settings(run, judges={**yaml.safe_load((run / "run.yaml").read_text())["judges"], "paid": judge})
        name = "paid"
    set_settings(run, **{f"principles__{item}__judge": name for item in PRINCIPLES})
    assert called(run, *SMALL, "--judge", "10") == 2
    err = capsys.readouterr().err
    assert part in err
    assert "sampling" not in err


def test_a_run_without_preference_models_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small(tmp_path / "run", until="sample")
    assert called(tmp_path / "run") == 1
    assert "--until train-pms" in capsys.readouterr().err
    assert not (tmp_path / "run" / "preview").exists()
    assert called(tmp_path) == 2
    assert "is not a run folder" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_judged_picks(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> int:
        with sqlite3.connect(copied / "judgements.sqlite") as ledger:
            return int(ledger.execute("SELECT count(*) FROM rows").fetchone()[0])

    before = rows()
    assert called(copied, *SMALL, "--judge", "30") == 0
    captured = capsys.readouterr()
    most = int(captured.err.split("at most ")[1].split(" requests")[0].replace(",", ""))
    asked = rows() - before
    assert 0 < asked <= most
    assert "0.5: no gain; not in sample" in captured.out
    judged = {name: row["judged"] for name, row in result_of(copied)["scalarizers"].items()}
    stored, texts = scores_of(copied)["values"][:, :3], list(texts_of(copied).values())
    for column, name in enumerate(PRINCIPLES):
        cell = judged[f"single: {name}"][name]
        assert cell["n"] <= 30
        assert cell["ci95"][0] <= cell["mean"] <= cell["ci95"][1]
        same = sum(texts[i][stored[i, :, column].argmax()] == texts[i][0] for i in range(30))
        assert 0.5 * same / 30 <= cell["mean"] <= 1 - 0.5 * same / 30
    # The rules judge of conciseness measures length: who picks for it must win.
    shorter = []
    for i in range(30):
        pick = texts[i][stored[i, :, PRINCIPLES.index("conciseness")].argmax()]
        shorter.append(len(pick.split()) - len(texts[i][0].split()))
    assert (np.mean(shorter) < 0) == (judged["single: conciseness"]["conciseness"]["mean"] > 0.5)
    assert called(copied, *SMALL, "--judge", "30") == 0
    assert rows() == before + asked
