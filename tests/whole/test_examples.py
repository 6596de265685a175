"""The shipped examples pass `check`; the paper's two run with tiny models of their families and a judge on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from morlaif_core import run
from morlaif_core.config.load import load_config
from morlaif_core.config.shipped_files import shipped_examples
from morlaif_core.testing import judge_server
from tests.helpers.tiny_models import save_tiny

QUESTIONS = ("bake bread", "mend a bike", "train a dog", "clean a clock", "learn chess", "grow beans")
SMALL = (
    "prompts={pm: 24, validation: 0.25, calibration: 8, rl: 8, evaluation: 6}",
    "dataset.held_out=0.2",
    "generation.max_new_tokens=8",
    "preference_model.batch=8",
    "preference_model.epochs=1",
    "trainer.steps=2",
    "trainer.prompts_per_step=4",
    "trainer.minibatch=4",
    "trainer.accumulation=1",
)
TINY = (
    "target.model={use: demo-base, steps: 10, width: 32}",
    "generation.max_new_tokens=12",
    "preference_model.epochs=1",
    "trainer.steps=2",
)


def hh_file(folder: Path) -> Path:
    """Sixty pairs in the form of HH-rlhf."""
    rows = []
    for number in range(10):
        for question in QUESTIONS:
            head = f"\n\nHuman: How do I {question} in {number} days?\n\nAssistant:"
            rows.append({"chosen": f"{head} Begin with a plan.", "rejected": f"{head} No idea."})
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def longer_wins(first: str, second: str, question: str) -> float:
    """The judge's P(first): the same whatever the order."""
    return 0.5 if len(first) == len(second) else 0.8 if len(first) > len(second) else 0.2


@pytest.mark.parametrize("name", sorted(shipped_examples()))
def test_every_example_is_a_valid_configuration(name: str) -> None:
    config = load_config([name])
    assert config.principles


@pytest.mark.slow(seconds=3)
@pytest.mark.parametrize(("name", "family"), [("hh-rlhf-gpt2-medium", "gpt2"), ("hh-rlhf-llama-7b-lora", "llama")])
def test_the_papers_settings_run(name: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-on-loopback-0123456789")
    model = save_tiny(tmp_path / "model", family)
    with judge_server(longer_wins, bias=1.0) as server:
        done = run(
            name,
            out=tmp_path / "run",
            quiet=True,
            sets=[
                *SMALL,
                f"target.model={model}",
                f"preference_model.base.model={model}",
                f"judges.gpt-4o-mini.base_url={server.url}",
                f"dataset.path={hh_file(tmp_path)}",
                "principles=[helpfulness, toxicity, factuality]",
            ],
        )
        asked = len(server.requests)
    results = done.results
    assert set(results["policy"]) == {"helpfulness", "toxicity", "factuality"}
    assert asked > 0
    # The judge leans by one logit to what stands first; both orders measure it.
    assert results["judge"]["helpfulness"]["position_bias"]["mean"] == pytest.approx(1.0, abs=0.05)
    assert 0 <= results["win_rate"]["overall"] <= 1
    assert len(json.loads((tmp_path / "run/manifest.json").read_text())["prompt_sets"]["evaluation"]) == 6


@pytest.mark.slow(seconds=6)
def test_the_configuration_for_own_data_runs_on_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"How do I {question} in {n} days?"} for n in range(30) for question in QUESTIONS]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("mine.yaml").write_text(shipped_examples()["own-data"].read_text(encoding="utf-8"), encoding="utf-8")
    done = run("mine.yaml", quiet=True, sets=TINY)
    counts = {name: len(ids) for name, ids in done.manifest["prompt_sets"].items()}
    assert sum(counts.values()) == 180
    assert counts["evaluation"] >= 2
    assert set(done.results["policy"]) == {"helpfulness", "relevance", "conciseness"}
    stages = done.manifest["stages"]
    assert run("mine.yaml", quiet=True, sets=TINY).manifest["stages"] == stages, "resumed with the counts it began with"
