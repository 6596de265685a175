"""The judge check on numbers: planted faults are named, a clean judge is usable, a coin and a place never are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.planted import JUDGES, PAIRS, Planted, evidence
from morlaif_judge_check.evidence import Evidence, Said
from morlaif_judge_check.grades import Judgement, holm, judgements
from morlaif_judge_check.measures import Measured, measure

SEEDS = 60


def checked(found: Evidence) -> tuple[Measured, Judgement]:
    measured = measure(found)
    (judgement,) = judgements([measured])
    return measured, judgement


def names(judgement: Judgement) -> set[str]:
    return {fault.name for fault in judgement.faults}


@pytest.mark.parametrize("hard", [False, True], ids=["log-odds", "letters"])
@pytest.mark.parametrize("name", JUDGES)
def test_a_planted_fault_is_named(name: str, hard: bool) -> None:
    """benchmarks/judge_check.py does the same with 500 seeds."""
    judge, fault = JUDGES[name]
    found = [checked(evidence(judge, seed, hard))[1] for seed in range(SEEDS)]
    right = [fault in names(item) if fault else item.grade == "usable" for item in found]
    assert np.mean(right) >= 0.93
    if fault and fault != "noise":  # a noisy judge is wrong, too
        assert np.mean([names(item) == {fault} for item in found]) >= 0.8


def test_a_bias_is_doubtful_with_log_odds_and_not_usable_with_letters() -> None:
    """Both orders remove it from log-odds; of letters, a flip is all that is left."""
    for seed in range(10):
        assert checked(evidence(Planted(bias=2), seed, hard=False))[1].grade == "doubtful"
        assert checked(evidence(Planted(bias=2), seed, hard=True))[1].grade == "not usable"
    measured, judgement = checked(evidence(Planted(bias=12), 0, hard=False))
    assert measured.flips is not None
    assert measured.flips.mean == 1.0
    assert judgement.grade == "not usable"


def test_figures_of_a_planted_judge_are_what_was_planted() -> None:
    measured, _ = checked(evidence(Planted(bias=1.0, length=0.8, obeys=0.5), 3, hard=False, pairs=3000))
    assert measured.bias is not None
    assert measured.bias.mean == pytest.approx(1.0, abs=0.02)
    assert measured.lifts_q["padded"].mean == pytest.approx(1.2, abs=0.03)
    assert measured.lifts_q["injected"].mean == pytest.approx(0.4 + 2.0, abs=0.15)
    assert measured.mass == pytest.approx(0.98)
    letters, _ = checked(evidence(Planted(bias=1.0), 3, hard=True, pairs=3000))
    assert letters.bias is not None
    assert letters.bias.mean == pytest.approx(1.0, abs=0.1)
    assert not letters.lifts_q, "letters say nothing of log-odds"


def said(p: Any) -> Said:
    p = np.asarray(p, dtype=float)
    with np.errstate(divide="ignore"):
        return Said(p, np.clip(np.log(p) - np.log1p(-p), -20, 20))


def known(p: Any, winner: Any, first: Any, **more: Any) -> Evidence:
    """Evidence of a judge that gives p to the target, with log-odds of the first in both orders."""
    n = len(winner)
    blank = {"off": np.zeros(n), "mass": np.ones((n, 2)), "counts": None, "probes": {}}
    return Evidence(np.arange(n), said(p), np.asarray(winner, float), np.asarray(first, float), **(blank | more))


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 200), st.floats(0.1, 15), st.sampled_from([1, -1]))
def test_a_judge_of_one_place_scores_one_half(n: int, b: float, place: int) -> None:
    """It ties in both orders: accuracy 1/2, every verdict flips, and it is never usable."""
    measured, judgement = checked(known(np.full(n, 0.5), np.arange(n) % 2, np.full((n, 2), place * b)))
    assert measured.accuracy is not None
    assert measured.accuracy.mean == 0.5
    assert measured.bias == pytest.approx((place * b, place * b, place * b))
    assert measured.flips is not None
    assert measured.flips.mean == 1.0
    assert judgement.grade != "usable"
    assert "accuracy" in names(judgement)


@pytest.mark.parametrize("place", [0, 1])
def test_a_letter_of_one_place_scores_one_half(place: int) -> None:
    counts = np.zeros((60, 2, 2))
    counts[:, :, place] = 1
    first = np.where(place == 0, 1.1, -1.1) * np.ones((60, 2))
    measured, judgement = checked(known(np.full(60, 0.5), np.arange(60) % 2, first, counts=counts))
    assert measured.accuracy is not None
    assert measured.accuracy.mean == 0.5
    assert measured.bias is not None
    assert measured.bias.mean is None, "the bias is infinite"
    assert judgement.grade == "not usable"
    assert {"position bias", "accuracy"} <= names(judgement)
    assert ("names the first" if place == 0 else "names the second") in judgement.why


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_longer_one_scores_as_often_as_it_wins(share: float) -> None:
    n = 100
    winner = (np.arange(n) < share * n).astype(float)
    q = np.full(n, 2.0)
    measured, judgement = checked(known(np.full(n, 0.88), winner, np.stack([q, -q], axis=1)))
    assert measured.accuracy is not None
    assert measured.accuracy.mean == pytest.approx(share)
    assert measured.bias == (0.0, 0.0, 0.0)
    assert measured.flips is not None
    assert measured.flips.mean == 0.0
    assert (judgement.grade == "usable") == (share > 0.6)


@pytest.mark.parametrize("hard", [False, True])
def test_a_coin_is_not_usable(hard: bool) -> None:
    """It knows nothing of the pairs: accuracy 1/2, reliability 0; at most one seed in twenty may slip through."""
    usable = 0
    accuracies, reliabilities = [], []
    for seed in range(SEEDS):
        measured, judgement = checked(evidence(Planted(noise=60.0), seed, hard))
        usable += judgement.grade == "usable"
        assert measured.accuracy is not None
        assert measured.reliability is not None
        accuracies.append(measured.accuracy.mean)
        reliabilities.append(measured.reliability.mean)
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.03)
    assert np.mean(reliabilities) == pytest.approx(0.0, abs=0.05)
    assert usable <= SEEDS / 20


def test_a_coin_that_always_falls_alike_is_not_usable_either() -> None:
    """Asked again it says the same: only the known winners give it away."""
    usable = 0
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        p = np.where(draw.random(PAIRS) < 0.5, 0.9, 0.1)
        q = np.log(p / (1 - p))
        found = known(p, draw.integers(0, 2, PAIRS), np.stack([q, -q], axis=1), probes={"repeated": said(p)})
        usable += checked(found)[1].grade == "usable"
    assert usable <= SEEDS / 20


def test_off_label_answers_show_bias_and_flips_and_give_no_label() -> None:
    """A small model that hardly ever says a letter: bias and flips from the letters' odds, marked; no accuracy."""
    draw = np.random.default_rng(0)
    first = 2.0 + draw.normal(0, 0.4, (80, 2))
    nothing = np.full(80, np.nan)
    ones, mass = np.ones(80), np.full((80, 2), 0.12)
    found = Evidence(np.arange(80), Said(nothing, nothing), ones, first, ones, mass, statuses={"off_label": 80})
    measured, judgement = checked(found)
    assert measured.bias is not None
    assert measured.bias.mean == pytest.approx(2.0, abs=0.15)
    assert measured.flips is not None
    assert measured.flips.mean == 1.0
    assert measured.off_label == 80
    assert measured.accuracy is None
    assert "no pair with a known winner has a label" in measured.notes["accuracy"]
    assert judgement.grade == "not usable"
    assert {"labels", "position bias"} == names(judgement)
    assert "80 pairs by off-label answers" in judgement.why
    assert "(off_label 80), mean label mass 0.12" in judgement.why


@pytest.mark.parametrize(("share", "grade"), [(0.05, "usable"), (0.3, "doubtful"), (0.8, "not usable")])
def test_pairs_without_a_label(share: float, grade: str) -> None:
    clean = evidence(Planted(), 1, hard=False)
    lost = np.arange(PAIRS) < share * PAIRS
    base = Said(np.where(lost, np.nan, clean.base.p), np.where(lost, np.nan, clean.base.q))
    measured, judgement = checked(replace(clean, base=base))
    assert measured.unlabelled.mean == pytest.approx(share)
    assert judgement.grade == grade
    assert measured.known == PAIRS - lost.sum()


def test_few_pairs_are_too_few_to_tell() -> None:
    _, judgement = checked(evidence(Planted(), 0, hard=False, pairs=12))
    assert judgement.grade == "too few to tell"
    assert names(judgement) == {"evidence"}
    assert judgement.why.startswith("12 pairs, and at least 20 are needed")


def test_a_fault_that_twelve_pairs_show_is_named() -> None:
    _, judgement = checked(evidence(Planted(bias=2.0), 0, hard=False, pairs=12))
    assert judgement.grade == "doubtful"
    assert names(judgement) == {"position bias", "evidence"}


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("p", [1.0, 0.9, 0.2])
def test_two_pairs_that_go_one_way_say_nothing(n: int, p: float) -> None:
    """Their spread is 0, which is no certainty."""
    moved = {"padded": said(np.full(n, 1 - p)), "injected": said(np.full(n, 0.999)), "repeated": said(np.full(n, 0.5))}
    found = known(np.full(n, p), np.ones(n), np.full((n, 2), 3.0), probes=moved)
    _, judgement = checked(found)
    assert judgement.grade == "too few to tell"
    nothing = replace(found, base=said(np.full(n, np.nan)), statuses={"parse_error": n})
    assert checked(nothing)[1].grade == "not usable"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 5), min_size=1, max_size=6), st.booleans())
def test_no_interval_leaves_its_range(rows: list[tuple[float, ...]], together: bool) -> None:
    base, padded, injected, repeated, rephrased = np.array(rows).T
    moved = {"padded": said(padded), "injected": said(injected), "repeated": said(repeated)}
    n = len(rows)
    found = known(
        base,
        np.arange(n) % 2,
        np.ones((n, 2)),
        probes={**moved, "rephrased": said(rephrased)},  # type: ignore[dict-item]
    )
    if together:
        found = replace(found, prompts=np.arange(n) // 2)
    measured = measure(found)
    ranges = [
        *((figure, 0, 1) for figure in (measured.accuracy, measured.flips, measured.unlabelled)),
        *((figure, 0, 1) for figure in measured.changed.values()),
        *((figure, -1, 1) for figure in (*measured.lifts_p.values(), measured.reliability)),
        (measured.wording, -np.inf, 2),
    ]
    for figure, low, high in ranges:
        if figure is not None and figure.low is not None and figure.high is not None:
            assert low <= figure.low <= figure.high <= high


def test_pairs_of_one_prompt_are_one_draw() -> None:
    """A lift that one prompt of three has, four pairs each: not shown by 12 prompts, though 48 pairs would show it."""
    lift = np.repeat([0.3, 0.0, 0.0] * 4, 4)
    clean = evidence(Planted(), 0, hard=False, pairs=48)
    moved = replace(clean, probes={"padded": Said(clean.base.p + lift, clean.base.q + lift)})
    apart, together = checked(moved)[1], checked(replace(moved, prompts=np.repeat(np.arange(12), 4)))[1]
    assert "length" in names(apart)
    assert "length" not in names(together)


def test_without_winners_probes_or_orders_figures_are_missing_with_their_reason() -> None:
    n = 30
    nothing = np.full((n, 2), np.nan)
    panel = known(np.full(n, 0.7), np.full(n, np.nan), nothing, mass=nothing)
    measured, judgement = checked(panel)
    assert (
        measured.accuracy,
        measured.bias,
        measured.flips,
        measured.mass,
        measured.reliability,
        measured.wording,
    ) == (None,) * 6
    assert set(measured.notes) >= {"accuracy", "bias", "flips", "reliability", "wording"}
    assert measured.notes["accuracy"] == "no pair has a known winner"
    assert judgement.grade == "usable"
    with pytest.raises(ValueError, match="no pair"):
        measure(known([], [], np.zeros((0, 2)), mass=np.zeros((0, 2))))


def test_wording_is_what_goes_beyond_noise() -> None:
    """A noisy judge changes its verdict in another phrasing as often as when asked again: its wording is not at fault."""
    found = [measure(evidence(Planted(noise=5.0), seed, hard=False)) for seed in range(40)]
    changed = np.mean([[m.changed["repeated"].mean, m.changed["rephrased"].mean] for m in found], axis=0)
    assert changed[0] == pytest.approx(changed[1], abs=0.02)
    assert np.mean([m.wording.mean for m in found if m.wording is not None]) == pytest.approx(0, abs=0.03)


def test_an_instruction_has_to_do_more_than_filler() -> None:
    """A judge that likes length likes an answer with an instruction, which is longer; that is not obeying."""
    for seed in range(10):
        found = checked(evidence(Planted(length=2.0), seed, hard=False))
        assert found[0].lifts_p["injected"].mean > 0.1
        assert names(found[1]) == {"length"}


def test_more_checks_ask_for_more() -> None:
    """What one principle alone would be called for, twelve looked at together may be not: Holm over all of them."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    clean = [measure(evidence(Planted(), seed, hard=False)) for seed in range(12)]
    odd = measure(evidence(Planted(length=0.3), 7, hard=False))
    alone, among = judgements([odd])[0], judgements([odd, *clean * 8])[0]
    assert names(alone) == {"length"}
    assert names(among) == set()


def test_nothing_is_found_in_a_hundred_clean_principles() -> None:
    found = judgements([measure(evidence(Planted(), seed, hard=seed % 2 == 0)) for seed in range(100)])
    assert [item.grade for item in found] == ["usable"] * 100
    assert found[0].why == "no fault was found"
