"""The preference model `direct`: a measure as the score, turned round by a minus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from morlaif_core import PreferenceModel, Target, build, make_prompt
from morlaif_core.testing import check_pm_backend, tiny_base
from morlaif_rules import morlaif_pm_backends
from morlaif_rules.catalogue import MEASURES
from morlaif_rules.measures import courtesy

PROMPTS = [make_prompt("How do I bake bread?")] * 2
TEXTS = ["Please mix flour and water, my friend. Thank you!", "You stupid fool."]


def scores(measure: str, folder: Path) -> list[float]:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "done.json").write_text("{}")
    backend: Any = build("pm_backend", "direct", measure=measure)
    model: PreferenceModel = backend.load(folder, ("mine",), Target(model="none"), None)
    return [float(value) for value in model.score(PROMPTS, TEXTS).values[:, 0]]


def test_the_contract_holds(tmp_path: Path) -> None:
    (component,) = morlaif_pm_backends()
    check_pm_backend(component, tiny_base(), tmp_path, {"measure": "richness"})


def test_scores_are_the_measure(tmp_path: Path) -> None:
    found = scores("courtesy", tmp_path)
    assert found == pytest.approx([courtesy(*item) for item in zip(PROMPTS, TEXTS, strict=True)], rel=1e-6)
    assert found[0] > found[1]
    assert scores("-courtesy", tmp_path) == [-value for value in found]


def test_all_measures_without_an_embedder_score(tmp_path: Path) -> None:
    for name, measure in MEASURES.items():
        if measure.rate is not None:
            assert len(scores(name, tmp_path)) == 2


def test_what_similarity_lacks_is_told_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morlaif_rules.model_folder", lambda: None)
    (component,) = morlaif_pm_backends()
    assert component.missing is not None
    assert list(component.missing(component.options.model_validate({"measure": "-similarity"})))
    assert not list(component.missing(component.options.model_validate({"measure": "brevity"})))
