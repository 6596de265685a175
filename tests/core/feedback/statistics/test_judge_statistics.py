"""Judges whose numbers theory knows: always first, always second, always the longer one, a coin."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from morlaif_core.feedback.statistics.intervals import wilson
from morlaif_core.feedback.statistics.judge_statistics import judge_statistics
from morlaif_core.feedback.types import Status, Verdict
from morlaif_core.types import Principle, Request, ResponsePair
from tests.helpers.known_judges import BETTER, WORSE, Letters, Pairwise, longer, run, some_pairs


def labelled(n: int) -> list[ResponsePair]:
    """Humans prefer the longer answer in three of four pairs."""
    return [replace(p, human=float((len(p.a) > len(p.b)) == (i // 2 % 4 > 0))) for i, p in enumerate(some_pairs(n))]


def judged(p_first: Callable[[Request], float], folder: Path, principle: Principle = BETTER) -> dict[str, Any]:
    pairs = labelled(200)
    return dict(judge_statistics(run(Pairwise(p_first), pairs, folder, principles=(principle,)), pairs)[principle.name])


@pytest.mark.parametrize(("p", "bias"), [(0.9, math.log(9)), (0.1, -math.log(9))])
@pytest.mark.parametrize("principle", [BETTER, WORSE])
def test_a_judge_that_always_says_first_or_second(tmp_path: Path, p: float, bias: float, principle: Principle) -> None:
    block = judged(lambda request: p, tmp_path, principle)
    assert block["position_bias"]["mean"] == pytest.approx(bias)
    assert block["position_bias"]["ci95"] == pytest.approx([bias, bias])
    assert block["order_consistency"] == 0
    assert (block["n"], block["ties"], block["ok"]) == (200, 200, 0)
    assert block["agreement_with_human"]["mean"] == 0.5
    assert block["prefer_longer"] == 0.5
    assert block["prefer_longer_human"] == 0.75
    assert block["prefer_longer_excess"]["mean"] == -0.25


@pytest.mark.parametrize(("principle", "share", "agreement"), [(BETTER, 1.0, 0.75), (WORSE, 0.0, 0.25)])
def test_a_judge_that_always_says_the_longer_one(
    tmp_path: Path, principle: Principle, share: float, agreement: float
) -> None:
    block = judged(longer, tmp_path, principle)
    assert block["position_bias"]["mean"] == pytest.approx(0, abs=1e-12)
    assert block["order_consistency"] == 1
    assert block["prefer_longer"] == share
    assert block["prefer_longer_excess"]["mean"] == share - 0.75
    assert block["agreement_with_human"]["mean"] == agreement
    assert block["agreement_with_human"]["n"] == 200
    low, high = block["agreement_with_human"]["ci95"]
    assert low < agreement < high


def test_a_coin(tmp_path: Path) -> None:
    draw = random.Random(5)
    block = judged(lambda request: draw.random(), tmp_path)
    low, high = block["position_bias"]["ci95"]
    assert low < 0 < high
    assert block["order_consistency"] == pytest.approx(0.5, abs=0.12)
    assert block["prefer_longer"] == pytest.approx(0.5, abs=0.12)
    low, high = block["agreement_with_human"]["ci95"]
    assert low < 0.5 < high


def test_a_coin_of_letters_flips_in_half_the_pairs(tmp_path: Path) -> None:
    draw = random.Random(7)
    pairs = labelled(400)
    verdicts = run(Letters(lambda request: draw.choice("AB")), pairs, tmp_path)
    block: dict[str, Any] = judge_statistics(verdicts, pairs)["candour"]
    assert block["order_consistency"] == pytest.approx(0.5, abs=0.1)
    assert block["ties"] == pytest.approx(200, abs=40)
    assert block["agreement_with_human"]["mean"] == pytest.approx(0.5, abs=0.1)
    low, high = block["position_bias"]["ci95"]
    assert low < 0 < high


def test_what_cannot_be_had_is_null_with_its_reason(tmp_path: Path) -> None:
    pairs = some_pairs(3)
    verdicts = run(Pairwise(longer), pairs, tmp_path, orders="one_random")
    block: dict[str, Any] = judge_statistics(verdicts, pairs)["candour"]
    nothing = (
        "position_bias",
        "order_consistency",
        "agreement_with_human",
        "prefer_longer_human",
        "prefer_longer_excess",
    )
    for name in nothing:
        assert block[name] is None
        assert block["notes"][name]
    assert block["prefer_longer"] == 1.0
    assert "prefer_longer" not in block["notes"]
    single: dict[str, Any] = judge_statistics(run(Pairwise(longer), pairs[:1], tmp_path / "x"), pairs)["candour"]
    assert single["position_bias"]["ci95"] is None
    assert single["notes"]["position_bias"]


def test_every_verdict_is_counted_once() -> None:
    pairs = some_pairs(8)
    kinds: list[Status] = ["ok", "tie", "not_applicable", "refused", "filtered", "off_label", "parse_error", "failed"]
    verdicts = [
        Verdict(pair.id, "p", "j", kind, 0.5 if kind in ("ok", "tie") else None)
        for pair, kind in zip(pairs, kinds, strict=True)
    ]
    block: dict[str, Any] = judge_statistics(verdicts, pairs)["p"]
    names = ["ok", "ties", "not_applicable", "refused", "filtered", "off_label", "parse_error", "failed"]
    assert [block[name] for name in names] == [1] * 8
    assert block["n"] == 8


def test_wilson_is_scipys() -> None:
    for k, n in ((0, 5), (3, 7), (50, 80), (9, 9)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k / n, n) == pytest.approx((expected.low, expected.high))


def test_costs_are_added_up_and_unknown_where_one_is() -> None:
    pairs = some_pairs(3)
    verdicts = [
        Verdict(pair.id, "p", "j", "ok", 0.7, cost=cost) for pair, cost in zip(pairs, (0.5, 0.25, 0.0), strict=True)
    ]
    assert judge_statistics(verdicts, pairs)["p"]["cost_usd"] == 0.75
    block: dict[str, Any] = judge_statistics([*verdicts[:2], replace(verdicts[2], cost=None)], pairs)["p"]
    assert block["cost_usd"] is None
    assert "price" in block["notes"]["cost_usd"]


def panel(n: int, *members: Callable[[int], float]) -> list[Verdict]:
    """Verdicts of a panel whose k-th member gives p_a by the pair's number."""
    found = []
    for i, pair in enumerate(some_pairs(n)):
        rows = tuple(Verdict(pair.id, "p", f"m{k}", "ok", p(i), bias=1.0 + k, cost=0.1) for k, p in enumerate(members))
        found.append(Verdict(pair.id, "p", "panel", "ok", 0.7, mode="panel", members=rows, cost=0.1 * len(members)))
    return found


def test_a_panel_has_its_members_blocks_and_their_agreement() -> None:
    verdicts = panel(
        60, lambda i: 0.9 if i % 2 else 0.2, lambda i: 0.8 if i % 2 else 0.3, lambda i: 0.9 if i % 4 else 0.1
    )
    block: dict[str, Any] = judge_statistics(verdicts, some_pairs(60))["p"]
    assert block["position_bias"] is None
    assert block["order_consistency"] is None
    assert "members" in block["notes"]["position_bias"]
    assert block["cost_usd"] == pytest.approx(18.0)
    assert [block["members"][name]["position_bias"]["mean"] for name in ("m0", "m1", "m2")] == [1.0, 2.0, 3.0]
    assert block["panel"]["kappa"]["m0, m1"]["mean"] == 1.0
    assert block["panel"]["kappa"]["m0, m2"]["mean"] == pytest.approx(0.5)
    assert 1 < block["panel"]["effective_judges"]["mean"] < 2
    assert 0.5 < block["panel"]["alpha"]["mean"] < 1


def test_a_cascade_has_its_members_blocks_alone() -> None:
    verdicts = [replace(verdict, mode="cascade") for verdict in panel(10, lambda i: 0.9)]
    block: dict[str, Any] = judge_statistics(verdicts, some_pairs(10))["p"]
    assert block["members"]["m0"]["n"] == 10
    assert "panel" not in block


def test_members_without_a_label_are_missing_not_wrong() -> None:
    verdicts = panel(40, lambda i: 0.9 if i % 2 else 0.2, lambda i: 0.8 if i % 2 else 0.3)
    silent = [
        replace(v, members=(v.members[0], replace(v.members[1], status="refused", p_a=None))) if i < 20 else v
        for i, v in enumerate(verdicts)
    ]
    block: dict[str, Any] = judge_statistics(silent, some_pairs(40))["p"]
    assert block["panel"]["kappa"]["m0, m1"]["mean"] == 1.0
    assert block["members"]["m1"]["refused"] == 20


@pytest.mark.parametrize("letter", ["A", "B"])
def test_letters_of_one_place_bound_the_bias_from_one_side(tmp_path: Path, letter: str) -> None:
    pairs = some_pairs(60)
    block: dict[str, Any] = judge_statistics(run(Letters(lambda request: letter), pairs, tmp_path), pairs)["candour"]
    low, high = block["position_bias"]["ci95"]
    near, far = (low, high) if letter == "A" else (high, low)
    assert block["position_bias"]["mean"] is None
    assert far is None
    assert abs(near) > 1
    assert (near > 0) == (letter == "A")
    assert "how much more is not known" in block["notes"]["position_bias"]
    assert block["order_consistency"] == 0
