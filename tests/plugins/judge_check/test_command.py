"""`check-judges` through the real SDK and a judge on loopback: planted faults are named, and nothing is paid twice."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from morlaif_core.cli.main import cli
from morlaif_core.config.principles import known_principles
from morlaif_core.errors import UserError
from morlaif_core.plugins.manager import Plugins
from morlaif_core.testing.faultserver import FaultServer
from morlaif_judge_check.probes import FILLER, INJECTIONS
from tests.helpers.small_run import PRINCIPLES

KNOWN = {item.principle.name: item.principle for item in known_principles(Plugins.load()).values()}
NAMES = tuple(KNOWN)
ASKED = {question: item for item in KNOWN.values() for question in (item.question, *item.phrasings)}
BETTER = {
    (item.name, text): text == (example.a if example.winner == "a" else example.b)
    for item in KNOWN.values()
    for example in item.examples
    for text in (example.a, example.b)
}
"""By principle and answer: whether it is the better one of its example pair."""


class Planted:
    """Knows the better answer of every example pair; then what it is made to do besides."""

    def __init__(self, *, length: float = 0.0, obeys: float = 0.0, knows: float = 2.0) -> None:
        self.length, self.obeys, self.knows = length, obeys, knows

    def __call__(self, first: str, second: str, question: str) -> float:
        principle = ASKED[question]
        q = self.worth(first, principle.name) - self.worth(second, principle.name)
        return 1 / (1 + math.exp(-q if principle.picks == "better" else q))

    @staticmethod
    def bare(text: str) -> str:
        """The answer without what a probe put behind it."""
        for more in (FILLER, *INJECTIONS.values()):
            text = text.removesuffix("\n\n" + more)
        return text

    def worth(self, text: str, principle: str) -> float:
        said = self.bare(text)
        obeyed = self.obeys if any(text.endswith(note) for note in INJECTIONS.values()) else 0.0
        # In thousands of characters, so that filler weighs more than what examples differ by.
        return self.knows * BETTER.get((principle, said), False) + self.length * len(text) / 1000 + obeyed


def config(folder: Path, judges: str, names: Sequence[str] = NAMES) -> Path:
    file = folder / "planted.yaml"
    file.write_text(f"judge: planted\njudges:\n{judges}principles: [{', '.join(names)}]\n", encoding="utf-8")
    return file


def of(server: FaultServer, name: str = "planted", more: str = "") -> str:
    return f"  {name}: {{use: openai, model: {name}-1, base_url: '{server.url}', api_key: null{more}}}\n"


def check(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["check-judges", *map(str, arguments)], catch_exceptions=False)


def found(*arguments: object) -> dict[str, Any]:
    result = check(*arguments, "--json")
    assert result.exit_code == 0, result.output
    judges: dict[str, Any] = json.loads(result.stdout)["judges"]
    return judges


def faults(block: Any) -> set[str]:
    return {fault["name"] for fault in block["faults"]}


@pytest.mark.parametrize(
    ("oracle", "bias", "fault"),
    [
        (Planted(), 0.0, None),
        (Planted(), 2.0, "position bias"),
        (Planted(), -2.0, "position bias"),
        (Planted(length=5.0), 0.0, "length"),
        (Planted(obeys=4.0), 0.0, "injection"),
    ],
    ids=["clean", "first", "second", "length", "injection"],
)
def test_a_planted_fault_is_named(
    oracle: Callable[[str, str, str], float], bias: float, fault: str | None, tmp_path: Path
) -> None:
    with FaultServer(oracle, bias=bias) as server:
        block = found(config(tmp_path, of(server)), "--out", tmp_path / "run")["planted"]
    assert faults(block) == ({fault} if fault else set())
    assert (block["grade"] == "usable") == (fault is None)
    assert block["bias"]["mean"] == pytest.approx(bias, abs=0.05)
    assert block["accuracy"]["mean"] == pytest.approx(1.0, abs=0.1)
    assert block["pairs"] == sum(len(item.examples) for item in KNOWN.values())
    assert block["reliability"]["mean"] == 1.0
    assert block["principles"].keys() == set(NAMES)


def test_the_table_says_what_is_wrong_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    with FaultServer(Planted(), bias=2.0) as server:
        file = config(tmp_path, of(server, more=", judging: {price: {input: 1.0, output: 1.0}}"))
        first = check(file, "--out", tmp_path / "run")
        asked = len(server.requests)
        second = check(file, "--out", tmp_path / "run")
        assert len(server.requests) == asked
    assert first.exit_code == 0, first.output
    assert first.output == second.output
    line = next(line for line in first.output.splitlines() if line.startswith("planted "))
    assert re.search(r"\+2\.0\d \[\+\d\.\d\d, \+\d\.\d\d\]", line)
    assert re.search(r"\$0\.\d{4}", line)
    assert "doubtful" in line
    assert "planted (planted-1): doubtful\n  position bias +2.0" in first.output
    assert "names the first" in first.output
    assert "toxicity" in first.output


def test_a_judge_of_letters_and_one_that_seldom_says_one(tmp_path: Path) -> None:
    """Without log-odds a bias costs labels: not usable. Where labels have little mass there are none."""
    with FaultServer(Planted(knows=1.0), bias=1.5, seed=1) as server:
        file = config(tmp_path, of(server, more=", judging: {mode: text, samples: 3}"))
        block = found(file, "--out", tmp_path / "letters")["planted"]
    assert block["hard"]
    assert "position bias" in faults(block)
    assert block["grade"] == "not usable"
    with FaultServer(Planted(), bias=6.0, mass=0.2) as server:
        block = found(config(tmp_path, of(server)), "--out", tmp_path / "mumbles")["planted"]
    assert {"labels", "position bias"} == faults(block)
    assert block["grade"] == "not usable"
    assert block["mass"] == pytest.approx(0.2, abs=0.02)
    assert block["bias"]["mean"] == pytest.approx(6.0, abs=0.3)
    assert block["flips"]["mean"] == 1.0
    assert block["off_label"] == block["pairs"]
    assert block["accuracy"] is None
    assert block["notes"]["accuracy"]


def test_a_panel_and_a_cascade(tmp_path: Path) -> None:
    with FaultServer(Planted(knows=1.5)) as good, FaultServer(Planted(knows=3.0), bias=1.0) as biased:
        judges = of(good, "gpt-good") + of(biased, "gpt-biased")
        judges += "  both: {panel: [gpt-good, gpt-biased]}\n  planted: {cascade: [gpt-good, both], below: 1.0}\n"
        file = config(tmp_path, judges, NAMES[:5])
        blocks = found(file, "--out", tmp_path / "run")
        asked = len(good.requests) + len(biased.requests)
        shown = check(file, "--out", tmp_path / "run").output
        assert len(good.requests) + len(biased.requests) == asked
    assert blocks.keys() == {"planted", "both", "gpt-good", "gpt-biased"}
    assert [blocks[name]["kind"] for name in ("planted", "both", "gpt-good")] == ["cascade", "panel", "judge"]
    assert blocks["both"]["panel"]["kappa"]["gpt-good, gpt-biased"]["mean"] == 1.0
    assert blocks["both"]["panel"]["effective_judges"]["mean"] == pytest.approx(1.0, abs=0.05)
    assert "gpt-good and gpt-biased (gpt)" in blocks["both"]["family"]
    assert blocks["both"]["bias"] is None
    assert faults(blocks["gpt-biased"]) == {"position bias", "evidence"}
    assert faults(blocks["both"]) == {"evidence"}, "ten examples are too few"
    assert blocks["both"]["grade"] == "too few to tell"
    replay = blocks["planted"]["replays"]["gpt-good > both"]
    assert replay[0]["asked"] == 0
    assert replay[-1]["asked"] == 1
    assert replay[-1]["agreement"] == 1
    assert "gpt-good > both, replayed at other bounds:" in shown
    assert "worth 1.0" in shown


def test_two_pairs_are_too_few_to_tell(tmp_path: Path) -> None:
    """A principle's two examples, under a judge that obeys instructions: all intervals stay in their range."""
    with FaultServer(Planted(obeys=5.0)) as server:
        shown = check(config(tmp_path, of(server, "planted"), NAMES[:1]), "--out", tmp_path / "run").output
    assert "planted (planted-1): too few to tell\n  2 pairs, and at least 20 are needed" in shown
    row = next(line for line in shown.splitlines() if line.startswith("planted "))
    assert "too few to tell" in row
    *_, padded, injected, _, _, _, _ = re.split(r" {2,}", row)
    for cell in (padded, injected):
        assert all(-1 <= float(number) <= 1 for number in re.findall(r"[-+]?\d+\.\d+", cell)), row
    assert "[" in injected


def test_a_joint_judge_is_compared_with_itself_asked_one_by_one(tmp_path: Path) -> None:
    """It is asked all principles of each example pair, of which the planted judge knows its own alone."""
    with FaultServer(Planted(), ties=0.1) as server:
        file = config(
            tmp_path, of(server, more=", judging: {joint: true, price: {input: 1.0, output: 1.0}}"), NAMES[:4]
        )
        block = found(file, "--out", tmp_path / "run")["planted"]
        shown = check(file, "--out", tmp_path / "run").output
    examples = sum(len(KNOWN[name].examples) for name in NAMES[:4])
    assert block["pairs"] == examples * 4
    assert block["known"] == examples
    joint = block["joint"]
    assert joint["n"] == examples * 4
    assert joint["same"]["mean"] == 1.0
    assert joint["kappa"]["mean"] == 1.0
    assert joint["cost"] < 0.5 * joint["alone"]
    assert "all at once against one by one: 100%" in shown


def test_what_does_not_apply_is_no_missing_label(tmp_path: Path) -> None:
    """Asked about another principle's example, a judge may pass; passing its own principle's is a label missing."""

    def foreign(prompt: str, first: str, second: str, question: str) -> bool:
        return (ASKED[question].name, Planted.bare(first)) not in BETTER

    with FaultServer(Planted(), abstains=foreign) as server:
        file = config(tmp_path, of(server, more=", judging: {joint: true, abstain: true}"), NAMES[:4])
        block = found(file, "--out", tmp_path / "run")["planted"]
    assert block["pairs"] == block["known"] == sum(len(KNOWN[name].examples) for name in NAMES[:4])
    assert block["unlabelled"]["mean"] == 0
    with FaultServer(Planted(), abstains=lambda *asked: True) as server:
        file = config(tmp_path, of(server, more=", judging: {abstain: true}"))
        block = found(file, "--out", tmp_path / "never")["planted"]
    assert block["unlabelled"]["mean"] == 1
    assert block["grade"] == "not usable"
    assert "not_applicable" in next(fault["why"] for fault in block["faults"] if fault["name"] == "labels")


def test_one_judge_alone_used_or_not(tmp_path: Path) -> None:
    with FaultServer(Planted()) as server, FaultServer(Planted()) as other:
        file = config(tmp_path, of(server) + of(other, "spare"))
        blocks = found(file, "--judge", "spare", "--out", tmp_path / "run")
        assert blocks.keys() == {"spare"}
        assert not server.requests
        assert len(blocks["spare"]["principles"]) == len(NAMES)
        # `rules` cannot measure all: it is asked about the others.
        rules = found(file, "--judge", "rules", "--out", tmp_path / "run")["rules"]
        assert 0 < len(rules["principles"]) < len(NAMES)


def test_a_finished_run_and_its_own_pairs(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    block = found(run, "--pairs", 8)["rules"]
    examples = sum(len(KNOWN[name].examples) for name in PRINCIPLES)
    assert block["pairs"] == examples + 8 * len(PRINCIPLES)
    assert block["known"] == examples
    assert block["bias"]["mean"] == pytest.approx(0, abs=1e-9)
    assert block["reliability"]["mean"] == 1.0
    assert block["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--pairs", "3", "--out", "RUN"], "--until sample"),
        (["demo", "--judge", "rule", "--out", "RUN"], "Did you mean 'rules'"),
        (["demo", "--judge", "gpt-35", "--out", "RUN"], "OPENAI_API_KEY is not set"),
    ],
)
def test_what_cannot_be_checked_says_what_to_do(
    arguments: Sequence[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=re.escape(says)):
        check(*[str(tmp_path / "run") if part == "RUN" else part for part in arguments])
