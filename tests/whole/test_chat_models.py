"""A run on a chat model: its template's variables reach every stage, and a folded system turn is said once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from morlaif_core import Message, load_run, make_prompt
from morlaif_core.runs.progress import Screen
from tests.helpers.small_run import small

TEMPLATE = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>{{ mark }}"
)


@pytest.mark.slow(seconds=8)
def test_variables_of_the_template_reach_preference_models_policy_and_generate(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(load_run(finished).manifest["models"]["target"]["resolved"], base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(base)
    settings = (f"target.model={base}", "target.chat_template_kwargs={mark: '!?'}")
    small(tmp_path / "run", *settings, until="train-policy")
    run = load_run(tmp_path / "run")
    assert list((tmp_path / "run" / "policy").glob("*.safetensors"))
    for done in (tmp_path / "run" / "preference_models").glob("*/done.json"):
        assert json.loads(done.read_text())["chat_template_kwargs"] == {"mark": "!?"}
    assert run.generate([make_prompt([Message("user", "Hello")])], n=1, seed=0)

    key = "target.chat_template_kwargs"
    assert key in run.manifest["stages"]["sample"]["inputs"]
    assert key not in load_run(finished).manifest["stages"]["sample"]["inputs"]

    capsys.readouterr()
    context = run.context(Screen())
    for _ in range(2):
        assert context.fits([make_prompt([Message("system", "Be brief."), Message("user", "Hello")])]) == [True]
    assert capsys.readouterr().out.count("takes no system turn") == 1
