"""Judges that theory knows, through everything that is printed of a judge: accuracy, agreement, win rate, calibration."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from morlaif_core.feedback.statistics.agreement import cohen_kappa
from morlaif_core.feedback.statistics.judge_statistics import judge_statistics
from morlaif_core.feedback.types import Verdict
from morlaif_core.reward.calibration import fit_slope
from morlaif_core.stages.held_out_figures import judge_block, p_second
from morlaif_core.stages.pm_accuracy import accuracy
from morlaif_core.types import Preference, Principle, Request, ResponsePair
from morlaif_judge_check.measures import measure
from morlaif_judge_check.probes import Heard, Item, evidence_of
from tests.helpers.known_judges import BETTER, WORSE, Letters, Pairwise, run, some_pairs

N = 240
HUMAN = 0.75
"""Share of the pairs in which the human, and the example's author, prefer the longer answer."""
KINDS = ("first", "second", "longer", "coin")


def pairs() -> list[ResponsePair]:
    return [replace(p, human=float((len(p.a) > len(p.b)) == (i // 2 % 4 > 0))) for i, p in enumerate(some_pairs(N))]


def says(kind: str, copy: int) -> Callable[[Request], float]:
    """P(what stands first is named), before `picks`."""
    draw = random.Random(copy)
    rules: dict[str, Callable[[Request], float]] = {
        "first": lambda request: 0.9,
        "second": lambda request: 0.1,
        "longer": lambda request: 0.9 if len(request.first) > len(request.second) else 0.1,
        "coin": lambda request: draw.choice([0.9, 0.1]),
    }
    return rules[kind]


Judged = Callable[..., list[Verdict]]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Verdicts of a kind of judge on all pairs, each kind asked once; copy: another judge of the same kind."""

    @cache
    def ask(kind: str, letters: bool, principle: Principle = BETTER, copy: int = 0) -> list[Verdict]:
        rule = says(kind, copy)
        provider = Letters(lambda request: "A" if rule(request) > 0.5 else "B") if letters else Pairwise(rule)
        return run(provider, pairs(), tmp_path_factory.mktemp("judge"), principles=(principle,))

    return ask


@pytest.mark.parametrize("principle", [BETTER, WORSE], ids=["better", "worse"])
@pytest.mark.parametrize("letters", [False, True], ids=["probability", "letters"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_of_a_known_judge(kind: str, letters: bool, principle: Principle, judged: Judged) -> None:
    said, asked = judged(kind, letters, principle), pairs()
    longer = kind == "longer"
    named = 1.0 if principle is BETTER else 0.0
    prefers_longer = named if longer else 0.5
    right = (HUMAN if principle is BETTER else 1 - HUMAN) if longer else 0.5
    near = 0.08 if kind == "coin" else 1e-9
    block: dict[str, Any] = judge_statistics(said, asked)[principle.name]
    assert block["agreement_with_human"]["mean"] == pytest.approx(right, abs=near)
    assert block["prefer_longer"] == pytest.approx(prefers_longer, abs=near)
    assert block["prefer_longer_excess"]["mean"] == pytest.approx(prefers_longer - HUMAN, abs=near)
    consistency = {"longer": 1.0, "coin": 0.5}.get(kind, 0.0)
    assert block["order_consistency"] == pytest.approx(consistency, abs=near)
    # The check: the human's choice is the known winner.
    items = [Item(pair, principle, "a", "a" if pair.human == 1 else "b") for pair in asked]
    measured = measure(evidence_of([Heard(item, {"base": v}) for item, v in zip(items, said, strict=True)]))
    assert measured.accuracy is not None
    assert measured.accuracy.mean == pytest.approx(right, abs=near)
    assert measured.flips is not None
    assert measured.flips.mean == pytest.approx(1 - consistency, abs=near)
    # Evaluation: b is the response of the policy, the longer one in half of the pairs.
    p_b = p_second(asked, principle.name, {(v.pair, v.principle): v.p_a for v in said})
    evaluated = judge_block(p_b, p_b, 1)
    assert evaluated["win_rate"] == pytest.approx(0.5, abs=near)
    assert evaluated["judge_after"] == pytest.approx(0.5, abs=near)
    assert evaluated["judge_difference"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_preference_model_measured_against_a_known_judge(kind: str, judged: Judged) -> None:
    """A model that scores by length: right about the longer one, one half about a coin, nothing to say of a place."""
    said, asked = judged(kind, True), pairs()
    labels = [Preference(p.prompt, p.a, p.b, v.p_a) for p, v in zip(asked, said, strict=True) if v.p_a is not None]
    differences = np.array([len(label.a) - len(label.b) for label in labels], dtype=np.float32)
    found = accuracy(differences, labels)
    slope, _ = fit_slope(differences.astype(float), np.array([label.p_a for label in labels]))
    if kind in ("first", "second"):
        assert found["accuracy"] is None
        assert "no held-out pair has a winner" in found["notes"]["accuracy"]
        assert slope == pytest.approx(0, abs=1e-9)
    elif kind == "longer":
        assert found["accuracy"] == 1.0
        assert slope == pytest.approx(np.log(3), abs=1e-6), "a letter in both orders is P = 3/4; lengths differ by one"
    else:
        assert found["accuracy"] == pytest.approx(0.5, abs=0.1)
        low, high = found["ci95"]
        assert low < 0.5 < high
        assert slope == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_kappa_between_known_judges(one: str, other: str, judged: Judged) -> None:
    said = [judged(one, True), judged(other, True, BETTER, 1)]
    labels = [np.array([1 + int(np.sign(verdict.q or 0.0)) for verdict in verdicts]) for verdicts in said]
    found = cohen_kappa(labels[0], labels[1], np.arange(N))
    if {one, other} <= {"first", "second"}:
        assert found is None, "both tie everywhere: undefined"
    else:
        assert found is not None
        assert found.mean == pytest.approx(1.0 if one == other == "longer" else 0.0, abs=0.12)
