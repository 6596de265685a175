"""Judges whose numbers theory knows: always first, always second, always the longer one, a coin."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from morlaif_core.feedback.judging import Verdict
from morlaif_core.feedback.statistics import judge_statistics, position_bias, wilson
from morlaif_core.feedback.verdict import Mode, Reading, Status, decide, hard_logit
from morlaif_core.types import Principle, Request, ResponsePair
from tests.core.judging_tools import BETTER, WORSE, Letters, Pairwise, longer, run, some_pairs


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


@pytest.mark.parametrize(("principle", "share", "agreement"), [(BETTER, 1.0, 0.75), (WORSE, 0.0, 0.25)])
def test_a_judge_that_always_says_the_longer_one(
    tmp_path: Path, principle: Principle, share: float, agreement: float
) -> None:
    block = judged(longer, tmp_path, principle)
    assert block["position_bias"]["mean"] == pytest.approx(0, abs=1e-12)
    assert block["order_consistency"] == 1
    assert block["prefer_longer"] == share
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
    for name in ("position_bias", "order_consistency", "agreement_with_human", "prefer_longer_human", "cost_usd"):
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
        Verdict(pair.id, "p", "j", kind, 0.5 if kind in ("ok", "tie") else None, None, None, (None, None))
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


def verdict(first: tuple[float, float], mode: Mode) -> Verdict:
    status, p_a, q, bias = decide(Reading("ok", first[0]), Reading("ok", first[1]), "better")
    return Verdict("x", "p", "j", status, p_a, q, bias, first, mode)


@pytest.mark.parametrize("b", [-2.0, 0.0, 1.0, 2.0])
def test_the_bias_of_letters_is_covered(b: float) -> None:
    """400 seeded simulations of 600 pairs of one letter each order: the interval holds b in about 95 of 100."""
    draw = np.random.default_rng(3)
    covered, means = 0, list[float]()
    cached = {(x, y): verdict((hard_logit(x, 1 - x), hard_logit(y, 1 - y)), "text") for x in (0, 1) for y in (0, 1)}
    for _ in range(400):
        q = draw.normal(0, 1.5, 600)
        ab, ba = (draw.random(600) < 1 / (1 + np.exp(-(side * q + b))) for side in (1, -1))
        found = position_bias([cached[int(x), int(y)] for x, y in zip(ab, ba, strict=True)], {})
        assert found is not None
        low, high = found["ci95"]
        covered += low <= b <= high
        means.append(found["mean"])
    assert 0.92 <= covered / 400 <= 0.98
    assert np.mean(means) == pytest.approx(b, abs=0.1)


def test_a_strong_bias_of_letters_is_bounded_from_one_side() -> None:
    notes: dict[str, str] = {}
    found = position_bias([verdict((hard_logit(1, 0), hard_logit(1, 0)), "text")] * 50, notes)
    assert found is not None
    assert found["mean"] is None
    low, high = found["ci95"]
    assert low > 1
    assert high is None
    assert "one side" in notes["position_bias"]
