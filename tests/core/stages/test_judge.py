"""Panels, cascades, "does not apply" and money in the small run: what is stored, noted, asked again and paid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from morlaif_core import UserError, load_run, run
from morlaif_core.cli.main import cli
from morlaif_core.testing import Fault, FaultServer, KnownPreference
from tests.helpers.small_run import SETS

BROKEN = Fault(status=400, body='{"error": {"message": "this text is not taken here"}}')
PRICE = "{input: 1000.0, output: 0.0}"


class Server(FaultServer):
    """Breaks every fifth request to the model m-2 while it is told to."""

    broken = False

    def fault(self, number: int, body: dict[str, Any]) -> Fault | None:
        hit = self.broken and body["model"] == "m-2" and hash_of(body) % 5 == 0
        return BROKEN if hit else None


def hash_of(body: dict[str, Any]) -> int:
    return sum(map(ord, str(body["messages"])))


def served(**fields: Any) -> Server:
    server = Server(KnownPreference(), **fields)
    server.faults = server.fault
    return server


def sets(server: FaultServer, *more: str, judging: str = "") -> list[str]:
    common = f"use: openai, api_key: null, base_url: '{server.url}', judging: {{price: {PRICE}, {judging}}}"
    judges = (
        f"judges={{one: {{{common}, model: m-1}}, two: {{{common}, model: m-2}}, "
        "both: {panel: [one, two], quorum: 1}, thrifty: {cascade: [one, two], below: 1.0}}"
    )
    principles = "principles={helpfulness: {judge: both}, conciseness: {judge: thrifty}, detail: {judge: rules}}"
    return [*SETS, judges, principles, *more]


def judge(out: Path, settings: list[str], until: str = "judge") -> dict[str, Any]:
    run("demo", out=out, sets=settings, quiet=True, until=until)
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


def test_a_short_panel_is_said_and_its_member_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with served() as server:
        settings, server.broken = sets(server), True
        short = judge(out, settings)["judge"]["helpfulness"]
        stage = load_run(out).manifest["stages"]["judge"]
        failed = short["members"]["two"]["failed"]
        assert 0 < failed < short["n"]
        assert short["members"]["one"]["failed"] == short["failed"] == 0
        assert short["ok"] + short["ties"] == short["n"], "the quorum is one"
        assert short["notes"]["short"].startswith(f"{failed} labels lack a panel's member that failed")
        assert stage["failed"] >= failed, "the cascade's second judge failed too"
        before, labels, server.broken = len(server.requests), (out / "preferences.jsonl").read_text(), False
        whole = judge(out, settings)["judge"]["helpfulness"]
        again = [body["model"] for body in server.requests[before:]]
        assert set(again) == {"m-2"}
        assert failed <= len(again) <= 2 * stage["failed"]
    assert "short" not in whole["notes"]
    assert whole["members"]["two"]["failed"] == 0
    assert load_run(out).manifest["stages"]["judge"]["failed"] == 0
    assert (out / "preferences.jsonl").read_text() != labels


def test_the_whole_pipeline_with_a_panel_and_a_cascade_and_what_it_cost(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with served() as server:
        results = judge(out, sets(server), until="evaluate")
        paid = 1e-3 * sum(line.input for line in server.paid())
        assert results["cost_usd"] == pytest.approx(paid)
        assert load_run(out).spent() == {"cost_usd": pytest.approx(paid)}
        said = CliRunner().invoke(cli, ["status", str(out)], catch_exceptions=False).output
        assert f"judging has cost ${paid:,.4f}" in said
        stages = results["judge"]
        assert stages["helpfulness"]["cost_usd"] + stages["conciseness"]["cost_usd"] < paid, "evaluation comes on top"
        assert stages["detail"]["cost_usd"] == 0
        assert stages["conciseness"]["members"]["two"]["n"] < stages["conciseness"]["members"]["one"]["n"]
        sent = len(server.requests)
        judge(out, sets(server), until="evaluate")
        assert len(server.requests) == sent
        again = judge(tmp_path / "other", [*sets(server), f"judging.ledger={out}/judgements.sqlite"])
        assert (len(server.requests), again["cost_usd"]) == (sent, 0), "bought by the other run"
        assert again["judge"]["helpfulness"]["cost_usd"] == pytest.approx(stages["helpfulness"]["cost_usd"])


@pytest.mark.parametrize("change", ["judges.both.combine=majority", "judges.two.model=m-3", "judging.abstain=true"])
def test_what_a_member_is_and_how_it_is_asked_is_in_the_stages_fingerprint(tmp_path: Path, change: str) -> None:
    out = tmp_path / "run"
    with served() as server:
        judge(out, sets(server))
        judge(out, sets(server, "judging.concurrency=3", "judges.one.timeout=5"))
        assert not (out / "replaced").exists()
        sent = len(server.requests)
        judge(out, sets(server, change))
        assert (out / "replaced").exists()
        assert (len(server.requests) > sent) == ("majority" not in change)


def test_what_does_not_apply_is_no_label_and_is_said(tmp_path: Path) -> None:
    """Half of the pairs by their texts: neither trained on, nor counted as won, lost or tied."""
    out = tmp_path / "run"

    def off_topic(prompt: str, first: str, second: str, question: str) -> bool:
        return (len(first) + len(second)) % 2 == 0

    with served(abstains=off_topic) as server:
        results = judge(out, sets(server, judging="abstain: true"), until="evaluate")
    pairs = {item.pair.id: item.pair for item in load_run(out).pairs()}
    labelled = [json.loads(line) for line in (out / "preferences.jsonl").read_text().splitlines()]
    for name in ("helpfulness", "conciseness"):
        block = results["judge"][name]
        assert 0 < block["not_applicable"] < block["n"]
        assert block["notes"]["not_applicable"].startswith(f"{block['not_applicable']} of {block['n']} verdicts")
        rows = [pairs[row["pair"]] for row in labelled if row["principle"] == name]
        assert len(rows) == block["ok"] + block["ties"] == block["n"] - block["not_applicable"]
        assert not any(off_topic("", pair.a, pair.b, "") for pair in rows)
        evaluated = results["policy"][name]
        assert evaluated["n"] < 8
        assert "does not apply" in evaluated["notes"]["not_applicable"]


def test_an_unknown_price_leaves_the_cost_unknown_and_says_why(tmp_path: Path) -> None:
    with served() as server:
        settings = sets(server, "judges.two.judging.price=null")
        results = judge(tmp_path / "run", settings)
        assert results["cost_usd"] is None
        assert "no price is known for judge 'two'" in results["notes"]["cost_usd"]
        assert results["judge"]["helpfulness"]["cost_usd"] is None
        with pytest.raises(UserError, match="no price is known for judge 'two'"):
            judge(tmp_path / "another", [*settings, "budget.usd=1"])
        priced = judge(tmp_path / "run", sets(server, "seeds.judge=1"))
        assert "notes" not in priced


def test_the_budget_holds_over_commands_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with served() as server:
        settings = sets(server, judging="concurrency: 1")
        with pytest.raises(UserError, match=r"budget\.usd"):
            judge(out, [*settings, "budget.usd=5"])
        paid = sum(line.input for line in server.paid()) * 1e-3
        assert 0 < paid <= 5
        assert json.loads((out / "manifest.json").read_text())["results"]["cost_usd"] == 0, (
            "of the stages that are done"
        )
        status = CliRunner().invoke(cli, ["status", str(out), "--json"], catch_exceptions=False).output
        assert json.loads(status)["results"]["cost_usd"] == pytest.approx(paid)
        results = judge(out, [*settings, "budget.usd=1000"])
        assert results["cost_usd"] == pytest.approx(sum(line.input for line in server.paid()) * 1e-3)
        assert len({line.key for line in server.paid()}) == len(server.paid()), "nothing is bought twice"
