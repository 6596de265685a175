"""`check` shows first what the run uses, with the components' defaults; the rest and JSON where they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.commands import Cli

LAYER = """
judges:
  one: {use: openai, model: m-1, api_key: null, base_url: "http://localhost:1/v1"}
  pair: {panel: [one, rules]}
prices: {"localhost:1/v1/m-1": {input: 1, output: 2}}
principles: {detail: {judge: pair}}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(LAYER)


def test_what_the_run_uses_is_shown_with_the_defaults_of_its_components(morlaif: Cli) -> None:
    code, out, _ = morlaif("check", "demo", "mine.yaml")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["trainer.learning_rate"][-1] == "demo.yaml"
    # A default of the component, which nobody wrote.
    assert rows["trainer.stop_at_kl"][-1] == "default"
    assert rows["judges.rules.sharpness"][-1] == "default"
    assert {"judges.pair.panel", "judges.one.model", "prices.localhost:1/v1/m-1.input"} <= set(rows)
    assert not [key for key in rows if key.startswith(("judges.gpt", "judges.claude", "prices.gpt"))]
    assert "that this run does not use: see --all" in out
    assert "ready to run" in out


def test_all_shows_the_rest_below(morlaif: Cli) -> None:
    out = morlaif("check", "demo", "mine.yaml", "--all")[1]
    keys = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert keys.index("judges.gpt-4o-mini.use") > keys.index("threads")
    assert "see --all" not in out


def test_json_has_everything(morlaif: Cli) -> None:
    found = json.loads(morlaif("check", "demo", "mine.yaml", "--json")[1])
    values = {row["key"]: row for row in found["values"]}
    assert values["principles.detail.judge"] == {
        "key": "principles.detail.judge", "value": "pair", "from": "mine.yaml", "used": True
    }  # fmt: skip
    assert values["judges.gpt-4o-mini.use"]["used"] is False
    assert (found["ready"], found["needed"]) == (True, [])
    assert found["data"]["prompt_sets"]["evaluation"] == 200
