"""The workbench of a run: what commands get to go on from its preference models, and that it is the run's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from morlaif_core import Run, UserError, build, load_run, make_pair
from morlaif_core.errors import Busy, RunFailed
from morlaif_core.runs.folder import MANIFEST, RunFolder
from morlaif_core.testing import make_terms


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Run:
    """A finished run that a test may change."""
    shutil.copytree(finished, tmp_path / "run")
    return load_run(tmp_path / "run")


def test_scores_are_those_that_the_reward_rests_on(copied: Run) -> None:
    with copied.workbench() as bench:
        prompts = bench.prompts("rl")[:5]
        responses = [texts[0] for texts in bench.sample(prompts, n=1, seed=3)]
        scores = bench.scores(prompts, responses)
    expected = copied.reward()(prompts, responses).scores
    assert scores.principles == expected.principles == tuple(item.name for item in bench.principles)
    assert scores.prompt_ids == expected.prompt_ids
    assert np.array_equal(scores.values, expected.values)


def test_sampling_depends_on_its_arguments_alone(copied: Run) -> None:
    with copied.workbench() as bench:
        prompts = bench.prompts("rl")[:4]
        first, again, other = (bench.sample(prompts, n=3, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [len(texts) for texts in first] == [3] * 4


def test_a_scalarizer_gets_the_run_s_terms(copied: Run) -> None:
    with copied.workbench() as bench:
        reference = bench.reference()
        names = bench.scalarizers()
        assert {"weighted", "max_min", "leximin"} <= set(names)
        u = bench.scalarize(reference, {"use": "soft_max_min", "temperature": 0.5}, reference)
        ranks = bench.scalarize(reference, {"use": "leximin"}, reference)
    clip = bench.settings.reward.clip
    soft = build("scalarizer", "soft_max_min", temperature=0.5)
    assert np.allclose(u, soft(reference, make_terms(k=3, lower=-clip, upper=clip)), atol=1e-6)
    assert ranks.shape == u.shape == (len(reference.values),)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"use": "max_mim"}, "'max_min'"),
        ({"use": "soft_max_min", "temprature": 1}, "'temperature'"),
        ({"use": "gated", "path": "nowhere.safetensors"}, "needs features"),
        ({"use": "uncertainty_weighted", "ensemble": True}, "needs spread"),
        ({"use": "single", "principle": "detial"}, "'detail'"),
    ],
)
def test_what_cannot_be_scalarized_says_why(copied: Run, block: dict[str, object], part: str) -> None:
    with copied.workbench() as bench:
        reference = bench.reference()
        with pytest.raises(UserError) as raised:
            bench.scalarize(reference, block, reference)
    assert part in str(raised.value)


def test_judges_answer_through_the_ledger_and_once(copied: Run) -> None:
    with copied.workbench() as bench:
        prompts = bench.prompts("rl")[:3]
        pairs = [
            make_pair(prompt, *texts) for prompt, texts in zip(prompts, bench.sample(prompts, n=2, seed=0), strict=True)
        ]
        equal = make_pair(prompts[0], "Yes.", "Yes.")
        first = bench.judge([*pairs, pairs[0], equal])
        rows = (bench.folder / "judgements.sqlite").stat().st_size
        assert bench.judge(pairs) == first
        assert (bench.folder / "judgements.sqlite").stat().st_size == rows
    asked = {pair.id for pair in pairs if pair.a != pair.b}
    assert set(first) == {(pair, item.name) for pair in asked for item in bench.principles}
    assert all(p is None or 0 <= p <= 1 for p in first.values())


def test_human_labels_are_those_of_the_sets_asked_for(copied: Run) -> None:
    with copied.workbench() as bench:
        ids = {prompt.id for prompt in bench.prompts("rl")}
        labels = bench.preferences(["rl"])
        assert {item.prompt.id for item in labels} <= ids
        assert len(bench.preferences(["rl", "validation"])) >= len(labels)
        with pytest.raises(UserError, match="'calibration'"):
            bench.prompts("calibratoin")


def test_the_folder_is_held_and_let_go(copied: Run) -> None:
    with copied.workbench(), pytest.raises(Busy):
        RunFolder.open(copied.folder)
    RunFolder.open(copied.folder).close()


def test_its_fingerprint_is_of_what_scores_rest_on(copied: Run) -> None:
    with copied.workbench() as bench:
        before = bench.fingerprint
        assert before == bench.fingerprint
        file = bench.folder / "preference_models" / "calibration.json"
        content = json.loads(file.read_text())
        # How it is written down, and what no score depends on, does not count.
        file.write_text(json.dumps({**content, "notes": ["Said otherwise."]}, indent=4))
    with copied.workbench() as bench:
        assert bench.fingerprint == before
        content["clip"] = 2.5
        file.write_text(json.dumps(content))
    with copied.workbench() as bench:
        assert bench.fingerprint != before


def test_without_preference_models_it_says_what_to_run(copied: Run) -> None:
    manifest = json.loads((copied.folder / MANIFEST).read_text())
    manifest["stages"]["train-pms"]["state"] = "started"
    (copied.folder / MANIFEST).write_text(json.dumps(manifest))
    with copied.workbench() as bench:
        prompts = bench.prompts("rl")[:1]
        for attempt in (lambda: bench.fingerprint, lambda: bench.scores(prompts, ["Yes."])):
            with pytest.raises(RunFailed, match="--until train-pms"):
                attempt()
