"""Judgements that failed: the reason is shown, the next run asks them again, and what was learnt without them is redone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from morlaif_core import UserError, run
from morlaif_core.cli.main import cli
from morlaif_core.testing import Fault, judge_server
from morlaif_core.types import Message, distinct_pairs, make_pair, make_prompt
from tests.helpers.small_run import SETS

REFUSED = Fault(status=400, body='{"error": {"message": "this text is not taken here"}}')


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-on-loopback-0123456789")


def longer_wins(first: str, second: str, question: str) -> float:
    return 0.5 if len(first) == len(second) else 0.8 if len(first) > len(second) else 0.2


def small_run(out: Path, url: str, until: str) -> dict[str, object]:
    """The small run, one principle judged by the server."""
    judge = f"judges.far={{use: openai, model: any, base_url: '{url}'}}"
    sets = [*SETS, judge, "principles={helpfulness: {judge: far}, conciseness: {judge: rules}}"]
    return run("demo", out=out, sets=sets, quiet=True, until=until).manifest["stages"]


def test_only_what_failed_is_asked_again_of_the_same_server(tmp_path: Path) -> None:
    out, broken = tmp_path / "run", True

    def faults(number: int, body: dict[str, object]) -> Fault | None:
        return REFUSED if broken and number % 5 == 0 else None

    with judge_server(longer_wins, faults=faults) as server:
        failed = small_run(out, server.url, "train-pms")["judge"]["failed"]
        first = len(server.requests)
        labels = (out / "preferences.jsonl").read_text().count("helpfulness")
        broken = False
        stages = small_run(out, server.url, "train-pms")
        assert 0 < len(server.requests) - first < first / 2
    assert failed > 0
    assert stages["judge"]["failed"] == 0
    assert stages["train-pms"]["state"] == "done"
    assert (out / "preferences.jsonl").read_text().count("helpfulness") > labels
    assert json.loads((out / "results.json").read_text())["judge"]["helpfulness"]["failed"] == 0


def test_a_kill_after_asking_again_leaves_nothing_made_of_the_old_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from morlaif_core.stages import judge

    out, broken = tmp_path / "run", True

    def faults(number: int, body: dict[str, object]) -> Fault | None:
        return REFUSED if broken and number % 5 == 0 else None

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    model = out / "preference_models/helpfulness/done.json"
    with judge_server(longer_wins, faults=faults) as server:
        small_run(out, server.url, "train-pms")
        made, broken = model.stat().st_mtime_ns, False
        with monkeypatch.context() as patch:
            # The new labels are written by then, and the stage is not done.
            patch.setattr(judge, "_check_labels", killed)
            with pytest.raises(KeyboardInterrupt):
                small_run(out, server.url, "train-pms")
        small_run(out, server.url, "train-pms")
    assert model.stat().st_mtime_ns != made


def test_a_principle_without_any_label_stops_with_the_servers_reason(tmp_path: Path) -> None:
    with judge_server(longer_wins, faults=lambda number, body: REFUSED) as server:
        with pytest.raises(UserError, match="this text is not taken"):
            small_run(tmp_path / "run", server.url, "train-pms")
        stages = json.loads((tmp_path / "run/manifest.json").read_text())["stages"]
    assert stages["judge"]["state"] == "started"


def test_a_principle_with_few_labels_is_named_with_what_the_others_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven of ten answers come without log-probabilities, so that few pairs have both orders."""
    judge = "judges.far={use: openai, model: any, base_url: 'URL'}"
    principles = "principles={helpfulness: {judge: far}, conciseness: {judge: rules}}"
    faults = dict.fromkeys((number for number in range(1000) if number % 10 > 2), "logprobs_null")
    with judge_server(longer_wins, faults=faults) as server:
        sets = [*SETS, judge.replace("URL", server.url), principles, "judging.concurrency=1"]
        run("demo", out=tmp_path / "run", sets=sets, until="judge")
    block = json.loads((tmp_path / "run/results.json").read_text())["judge"]["helpfulness"]
    labels, n = block["ok"] + block["ties"], block["n"]
    said = f"helpfulness has few labels: {labels} of {n} pairs ({n - labels} parse_error)"
    assert 0 < labels < n / 2
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    status = CliRunner().invoke(cli, ["status", str(tmp_path / "run")], catch_exceptions=False).output
    assert said in status.splitlines()


def test_a_principle_without_any_label_stops_with_its_statuses(tmp_path: Path) -> None:
    def faults(number: int, body: dict[str, object]) -> str | None:
        return None if "helpful" in str(body) else "logprobs_null"

    with judge_server(longer_wins, faults=faults) as server:
        judge = f"judges.far={{use: openai, model: any, base_url: '{server.url}'}}"
        sets = [*SETS, judge, "principles={helpfulness: {judge: far}, empathy: {judge: far}}"]
        with pytest.raises(UserError, match=r"no label under empathy \(\d+ parse_error\)"):
            run("demo", out=tmp_path / "run", sets=sets, quiet=True, until="judge")
    assert (tmp_path / "run/results.json").exists()


def test_a_pair_is_judged_once() -> None:
    prompt = make_prompt([Message("user", "Hello?")])
    pair = make_pair(prompt, "Yes.", "No.")
    assert distinct_pairs([pair, make_pair(prompt, "Yes.", "Yes."), pair]) == [pair]
