"""`estimate` against what a server really gets: requests one by one, tokens within bounds, money by the same prices."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from morlaif_core import UserError, open_judges, run
from morlaif_core.cli.main import cli
from morlaif_core.testing import FaultServer, KnownPreference
from morlaif_estimate.estimate import estimate
from morlaif_estimate.power import smallest_share
from tests.helpers.small_run import PRINCIPLES, SETS, ledger_rows, options

PRICE = "{input: 2.0, cached: 0.5, output: 8.0}"


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run up to its pairs."""
    out = tmp_path_factory.mktemp("sampled") / "run"
    run("demo", out=out, sets=SETS, quiet=True, until="sample")
    return out


VARIED = ("generation.temperature=3.0", "pairs.per_prompt=3")
"""So hot that no two responses are equal: each pair is then asked about, as an estimate has to assume."""


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its pairs, all different."""
    out = tmp_path_factory.mktemp("varied") / "run"
    run("demo", out=out, sets=[*SETS, *VARIED], quiet=True, until="sample")
    return out


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Every byte is a token to it: the most that any tokenizer on bytes can count. Its cache has blocks of one token."""
    with FaultServer(KnownPreference(), tokenizer=lambda text: list(text.encode()), cache_block=1) as serving:
        yield serving


def judges(server: FaultServer, one: str = "", two: str = "", more: str = "") -> list[str]:
    """Two judges at the server, and what is made of them."""
    common = f"use: openai, api_key: null, base_url: '{server.url}'"
    text = f"one: {{{common}, model: m-1, judging: {{{one}}}}}, two: {{{common}, model: m-2, judging: {{{two}}}}}"
    return [f"judges={{{text}{', ' * bool(more)}{more}}}", f"prices={{'{server.url[7:]}/m-1': {PRICE}}}"]


def all_by(judge: str) -> str:
    return f"principles={{{', '.join(f'{name}: {{judge: {judge}}}' for name in PRINCIPLES)}}}"


def estimated(out: Path, *sets: str) -> dict[str, Any]:
    with open_judges(["demo"], (*SETS, *sets), out, hold=False, quiet=True) as bench:
        return estimate(bench)


def of_stage(found: dict[str, Any], stage: str) -> dict[str, Any]:
    return {row["judge"]: row for row in found["rows"] if row["stage"] == stage}


def judged(sampled: Path, out: Path, server: FaultServer, *sets: str) -> dict[str, Any]:
    """Estimate the judging of the sampled pairs, then judge them: the requests of each judge by the server's count."""
    shutil.copytree(sampled, out)
    found = of_stage(estimated(out, *sets), "judge")
    run("demo", out=out, sets=(*SETS, *sets), quiet=True, until="judge")
    return found


WAYS = {
    "logprob": {},
    "one order": {"one": "orders: one_random"},
    "rationale": {"one": "mode: rationale"},
    "structured": {"one": "mode: structured, few_shots: 1"},
    "samples": {"one": "mode: text, samples: 3"},
    "abstain": {"one": "abstain: true"},
    "joint": {"one": "joint: true, samples: 2, few_shots: 2"},
    "joint in one order": {"one": "joint: true, orders: one_random"},
}


@pytest.mark.parametrize("way", list(WAYS))
def test_requests_are_those_that_the_server_gets_and_tokens_are_bounded(
    sampled: Path, tmp_path: Path, server: FaultServer, way: str
) -> None:
    sets = [*judges(server, **WAYS[way]), all_by("one")]
    row = judged(sampled, tmp_path / "run", server, *sets)["one"]
    lines = list(server.paid())
    assert row["requests"] == row["requests_at_least"] == len(lines) > 30
    assert sum(line.input for line in lines) <= row["prompt_tokens_at_most"]
    assert sum(line.output for line in lines) <= row["output_tokens"]
    assert row["prompt_tokens"] < row["prompt_tokens_at_most"]
    price = {"input": 2e-6, "output": 8e-6}
    expected = price["input"] * row["prompt_tokens"] + price["output"] * row["output_tokens"]
    assert row["usd"] == pytest.approx(expected)
    assert row["usd_batch"] == pytest.approx(expected / 2)
    assert row["usd_cached"] == pytest.approx(expected - 1.5e-6 * row["cacheable_tokens"])
    again = of_stage(estimated(tmp_path / "run", *sets), "judge")["one"]
    assert (again["requests"], again["answered_before"]) == (0, len(lines))
    assert again["prompt_tokens"] == again["usd"] == 0


@pytest.mark.parametrize("way", list(WAYS))
def test_an_estimate_before_the_run_is_the_ledgers_rows_after_it(
    varied: Path, tmp_path: Path, server: FaultServer, way: str
) -> None:
    """With data and without: the prompts' texts differ then, their number does not."""
    sets = [*VARIED, *judges(server, **WAYS[way]), all_by("one")]
    unreadable = f"dataset={{use: hh-rlhf, path: {tmp_path}/none.jsonl}}"
    foreseen = [of_stage(estimated(tmp_path / "none", *sets, *more), "judge")["one"] for more in ((), (unreadable,))]
    judged(varied, tmp_path / "run", server, *sets)
    # A joint request has a row for each principle that it asks about.
    each = len(PRINCIPLES) if "joint" in way else 1
    rows = sum(ledger_rows(tmp_path / "run").values()) / each
    assert [row["requests"] for row in foreseen] == [rows, rows]
    assert rows == len(server.requests)


def test_a_cascade_is_estimated_at_its_least_and_most(varied: Path, tmp_path: Path, server: FaultServer) -> None:
    more = "both: {panel: [one, two]}, thrifty: {cascade: [one, two], below: 1.0}"
    principles = "principles={helpfulness: {judge: both}, conciseness: {judge: thrifty}, detail: {judge: rules}}"
    sets = [*VARIED, *judges(server, more=more), principles]
    unreadable = f"dataset={{use: hh-rlhf, path: {tmp_path}/none.jsonl}}"
    known = judged(varied, tmp_path / "run", server, *sets)
    rows = sum(ledger_rows(tmp_path / "run").values())
    for dataset in ((), (unreadable,)):
        foreseen = of_stage(estimated(tmp_path / "none", *sets, *dataset), "judge")
        for name in ("one", "two", "rules"):
            bounds = ("requests", "requests_at_least")
            assert [foreseen[name][key] for key in bounds] == [known[name][key] for key in bounds]
        least, most = (sum(row[key] for row in foreseen.values()) for key in ("requests_at_least", "requests"))
        assert least < rows < most


def test_the_shipped_configuration_is_estimated_without_its_data() -> None:
    with open_judges(["hh-rlhf-gpt2-medium"], out="none", hold=False, quiet=True) as bench:
        (row,) = of_stage(estimate(bench), "judge").values()
    assert row["requests"] == 2200 * 12 * 2


def test_what_a_cache_can_serve_is_what_a_caching_server_serves(
    sampled: Path, tmp_path: Path, server: FaultServer
) -> None:
    """One after the other, so that each prefix is there in time. The server also finds words that happen to be equal."""
    row = judged(sampled, tmp_path / "run", server, *judges(server, "concurrency: 1"), all_by("one"))["one"]
    cached, read = (sum(getattr(line, name) for line in server.paid()) / 3 for name in ("cached", "input"))
    assert row["prompt_tokens"] == pytest.approx(read, rel=0.05)
    assert row["cacheable_tokens"] <= cached
    assert row["cacheable_tokens"] / row["prompt_tokens"] == pytest.approx(cached / read, abs=0.06)


def test_panels_and_cascades_ask_each_judge_as_often_as_estimated(
    sampled: Path, tmp_path: Path, server: FaultServer
) -> None:
    more = "both: {panel: [one, two]}, thrifty: {cascade: [one, two], below: 1.0}"
    principles = "principles={helpfulness: {judge: both}, conciseness: {judge: thrifty}, detail: {judge: rules}}"
    found = judged(sampled, tmp_path / "run", server, *judges(server, more=more), principles)
    asked = {name: sum(body["model"] == name for body in server.requests) for name in ("m-1", "m-2")}
    pairs = found["rules"]["requests"] // 2
    assert found["rules"]["usd"] == 0
    assert found["one"]["requests"] == found["one"]["requests_at_least"] == asked["m-1"] == 4 * pairs
    assert (found["two"]["requests_at_least"], found["two"]["requests"]) == (2 * pairs, 4 * pairs)
    assert 2 * pairs < asked["m-2"] < 4 * pairs, "the panel's, and those of which the cascade's first is unsure"
    assert found["two"]["usd"] is None, "no price is listed for m-2"


def test_before_there_are_pairs_the_estimate_is_no_less_than_what_comes(
    sampled: Path, tmp_path: Path, server: FaultServer
) -> None:
    sets = [*judges(server), all_by("one")]
    before, after = (estimated(out, *sets) for out in (tmp_path / "none", sampled))
    assert not (tmp_path / "none").exists()
    assert before["pairs"] == {"judge": 34, "evaluate": 16}
    assert any("as long as they may be" in note for note in before["notes"])
    for stage, pairs in (("judge", 34), ("evaluate", 16)):
        foreseen, known = (of_stage(found, stage)["one"] for found in (before, after))
        assert foreseen["requests"] == 6 * pairs
        assert 0.8 * foreseen["requests"] <= known["requests"] <= foreseen["requests"]
        assert known["prompt_tokens"] <= foreseen["prompt_tokens"]
    assert before["smallest_difference"]["win_rate"]["prompts"] == 8
    assert before["smallest_difference"]["pm_accuracy"]["prompts"] == 6


def test_evaluation_is_counted_too(sampled: Path, tmp_path: Path, server: FaultServer) -> None:
    out, sets = tmp_path / "run", [*judges(server), all_by("rules"), "evaluation.judge=one"]
    shutil.copytree(sampled, out)
    run("demo", out=out, sets=(*SETS, *sets), quiet=True, until="train-policy")
    foreseen = of_stage(estimated(out, *sets), "evaluate")
    assert set(foreseen) == {"one"}
    run("demo", out=out, sets=(*SETS, *sets), quiet=True)
    lines = list(server.paid())
    assert 0.8 * foreseen["one"]["requests"] <= len(lines) <= foreseen["one"]["requests"]
    known = of_stage(estimated(out, *sets), "evaluate")["one"]
    assert (known["requests"], known["answered_before"]) == (0, len(lines))
    results = json.loads((out / "results.json").read_text())
    spent = sum(2e-6 * (line.input - line.cached) + 0.5e-6 * line.cached + 8e-6 * line.output for line in lines)
    assert results["cost_usd"] == pytest.approx(spent)


def test_time_at_the_configured_limits(sampled: Path, server: FaultServer) -> None:
    rows = [
        of_stage(estimated(sampled, *judges(server, limits), all_by("one")), "judge")["one"]
        for limits in ("", "requests_per_minute: 20", "tokens_per_minute: 100", "batch: true")
    ]
    free, by_requests, by_tokens, batched = rows
    assert free["minutes"] is None
    assert by_requests["minutes"] == pytest.approx(by_requests["requests"] / 20)
    assert by_tokens["minutes"] == pytest.approx(
        (by_tokens["prompt_tokens"] + by_tokens["output_tokens"]) / 100, rel=0.01
    )
    assert batched["usd"] == free["usd_batch"] == pytest.approx(free["usd"] / 2)


def test_a_data_set_that_cannot_be_read_is_assumed(tmp_path: Path, server: FaultServer) -> None:
    sets = [*judges(server), all_by("one"), f"dataset={{use: hh-rlhf, path: {tmp_path}/none.jsonl}}"]
    sizes = "prompts={pm: 1000, calibration: 100, evaluation: 50}"
    for source, pairs in (("sampled", 6 * 1100), ("dataset", 1000 + 6 * 100)):
        found = estimated(tmp_path / "run", *sets, sizes, f"pairs={{source: {source}, per_prompt: 4}}")
        assert found["pairs"] == {"judge": pairs, "evaluate": 100}
        assert any("cannot be read" in note and "no such file" in note for note in found["notes"])


def test_the_data_sets_own_pairs_are_counted(tmp_path: Path, server: FaultServer) -> None:
    rows = [
        {
            "chosen": f"\n\nHuman: Question {i}?\n\nAssistant: Yes {i}.",
            "rejected": f"\n\nHuman: Question {i}?\n\nAssistant: No.",
        }
        for i in range(400)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [*judges(server), all_by("one"), f"dataset={{use: hh-rlhf, path: {file}}}", "pairs.source=dataset"]
    found = estimated(tmp_path / "run", *sets, "prompts={pm: 250, calibration: 20, rl: 10, evaluation: 20}")
    assert found["pairs"] == {"judge": 250 + 20, "evaluate": 40}
    rows += [{**row, "rejected": f"{row['rejected']} Never."} for row in rows[::2]]  # a prompt may have several pairs
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = estimated(tmp_path / "run", *sets, "prompts={pm: 250, calibration: 20, rl: 10, evaluation: 20}")
    given = next(item for item in more["rows"] if item["stage"] == "judge")["requests"] / (2 * len(PRINCIPLES))
    assert more["pairs"]["judge"] == given
    assert 250 + 20 < given < 2 * 250 + 20


def test_a_key_that_is_not_set_hinders_only_what_needs_it(
    sampled: Path, tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [*judges(server), all_by("one")]
    judged(sampled, tmp_path / "run", server, *sets)
    monkeypatch.delenv("NOBODY", raising=False)
    locked = [*sets, "judges.one.api_key=NOBODY"]
    assert not any("NOBODY" in note for note in estimated(sampled, *locked)["notes"])
    found = estimated(tmp_path / "run", *locked)
    assert any("NOBODY" in note and "not subtracted" in note for note in found["notes"])
    assert of_stage(found, "judge")["one"]["requests"] == len(server.requests)


def test_a_mode_that_the_model_cannot_be_asked_in_is_said(sampled: Path, server: FaultServer) -> None:
    with pytest.raises(UserError, match=r"judges\.one: .*mode"):
        estimated(sampled, *judges(server, "mode: structured"), all_by("one"), "judges.one.structured=false")


def test_the_command_prints_a_table_and_json(tmp_path: Path, server: FaultServer) -> None:
    sets = options(*judges(server), all_by("one"), "budget.usd=0.001", f"judges.one.judging.price={PRICE}")
    command = ["estimate", "demo", *sets, "--out", str(tmp_path / "none")]
    plain = CliRunner().invoke(cli, command, catch_exceptions=False)
    lines = [line.split() for line in plain.output.splitlines()]
    assert lines[0][:4] == ["stage", "judge", "mode", "requests"]
    assert lines[1][:4] == ["judge", "one", "logprob", "204"]
    assert "budget.usd: $0.00, of which $0.00 is spent, may end the run before it is done" in plain.output
    assert "win rate over 8 prompts: one of 0.9" in plain.output
    found = json.loads(CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False).output)
    assert found["rows"][0]["requests"] == 204
    assert found["total"]["requests"] == 204 + 96


def test_without_a_price_the_money_is_unknown_and_why_is_said(tmp_path: Path, server: FaultServer) -> None:
    found = estimated(tmp_path / "none", *judges(server), all_by("two"))
    assert found["total"]["usd"] is None
    assert any("no price is known for judge 'two'" in note for note in found["notes"])


def power(n: int, p: float) -> float:
    """Exact power of the two-sided test of a share against 1/2 at 5 % (normal quantile), by the binomial."""
    reach = 1.959963984540054 * math.sqrt(n) / 2
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if abs(k - n / 2) > reach)


@pytest.mark.parametrize("n", [20, 50, 100, 200, 500, 1000])
def test_the_smallest_share_is_found_with_power_80(n: int) -> None:
    least = smallest_share(n)
    assert least is not None
    assert power(n, least) == pytest.approx(0.8, abs=0.07 if n < 100 else 0.04)


def test_more_prompts_show_less_and_a_few_show_nothing() -> None:
    found = [smallest_share(n) for n in (10, 100, 1000, 10_000)]
    assert all(more is not None and less is not None and more < less for less, more in pairwise(found))
    assert smallest_share(200) == pytest.approx(0.598, abs=1e-3)
    assert smallest_share(0) is smallest_share(3) is None
