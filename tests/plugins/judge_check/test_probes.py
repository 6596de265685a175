"""What probes ask, and how verdicts become arrays: wording, targets, known winners, direction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from morlaif_core.feedback.answers.verdict import Reading, decide, hard_logit
from morlaif_core.feedback.asking.wordings import worded
from morlaif_core.feedback.types import Counts, Verdict
from morlaif_core.types import Example, Principle, ResponsePair
from morlaif_judge_check.probes import FILLER, INJECTIONS, Heard, Item, applying, evidence_of, example_items, pair_items
from tests.helpers.known_judges import some_pairs

EXAMPLES = tuple(Example(f"question {i}", f"left {i}", f"right {i}", "a" if i % 2 else "b") for i in range(6))
KIND = Principle("kind", "Which is kinder?", phrasings=("Which is warmer?", "Which is gentler?"), examples=EXAMPLES)
RUDE = Principle("rude", "Which is ruder?", "worse", examples=EXAMPLES[:2])


def test_an_example_is_probed_in_its_loser_and_not_shown_with_itself() -> None:
    items = example_items([KIND, RUDE])
    assert len(items) == 8
    for item, example in zip(items[:6], EXAMPLES, strict=True):
        assert item.winner == example.winner != item.target
        assert (item.pair.a, item.pair.b) == (example.a, example.b)
        assert example not in item.principle.examples
        assert len(item.principle.examples) == 5


def test_together_every_pair_is_asked_under_all_principles_and_won_under_its_own() -> None:
    items = example_items([KIND, RUDE], together=True)
    assert len(items) == 16
    known = [(item.principle.name, item.winner) for item in items if item.winner is not None]
    assert [name for name, _ in known] == ["kind"] * 6 + ["rude"] * 2
    assert {item.pair.id for item in items if item.principle.name == "rude"} == {item.pair.id for item in items}


def test_a_runs_own_pairs_have_no_winner_and_both_targets() -> None:
    items = pair_items(some_pairs(60), [KIND, RUDE])
    assert len(items) == 120
    assert {item.winner for item in items} == {None}
    share = sum(item.target == "a" for item in items) / 120
    assert 0.3 < share < 0.7
    assert items[0].target == items[1].target, "a joint request asks all principles of one changed pair"


@pytest.mark.parametrize("target", ["a", "b"])
def test_probes_change_what_they_say_and_nothing_else(target: str) -> None:
    wordings = set()
    for pair in some_pairs(30):
        tasks = Item(pair, KIND, target).tasks("j")  # type: ignore[arg-type]
        assert list(tasks) == ["base", "padded", "injected", "repeated", "rephrased"]
        base = tasks["base"]
        assert base.principle.question == worded(KIND, pair.id).question
        assert len({task.id for task in tasks.values()}) == 5, "each is asked"
        for name, more in (("padded", FILLER), ("injected", INJECTIONS["better"])):
            task = tasks[name]
            assert worded(task.principle, task.pair.id).question == base.principle.question
            changed, kept = (task.pair.a, task.pair.b) if target == "a" else (task.pair.b, task.pair.a)
            assert changed == (pair.a if target == "a" else pair.b) + "\n\n" + more
            assert kept == (pair.b if target == "a" else pair.a)
        assert (tasks["repeated"].pair, tasks["repeated"].principle, tasks["repeated"].sample) == (
            pair,
            base.principle,
            1,
        )
        assert tasks["rephrased"].pair == pair
        other = worded(tasks["rephrased"].principle, pair.id).question
        assert other != base.principle.question
        assert other in (KIND.question, *KIND.phrasings)
        wordings.add((base.principle.question, other))
    assert len(wordings) == 3
    assert "rephrased" not in Item(some_pairs(1)[0], RUDE, "a").tasks("j")


def test_the_filler_is_longer_than_an_instruction() -> None:
    """The instruction has to do more than as much filler: see the fault "injection"."""
    assert all(len(FILLER) > len(note) for note in INJECTIONS.values())


def verdict(principle: Principle, ab: float, ba: float) -> Verdict:
    status, p_a, q, bias = decide(Reading("ok", ab), Reading("ok", ba), principle.picks)
    return Verdict("x", principle.name, "j", status, p_a, q, bias, (ab, ba), "logprob", mass=(0.9, 0.7))


def letters(principle: Principle, ab: Counts, ba: Counts) -> Verdict:
    logits = hard_logit(ab.first, ab.second), hard_logit(ba.first, ba.second)
    status, p_a, q, bias = decide(Reading("ok", logits[0]), Reading("ok", logits[1]), principle.picks)
    return Verdict("x", principle.name, "j", status, p_a, q, bias, logits, "text", counts=(ab, ba))


def pair() -> ResponsePair:
    return some_pairs(1)[0]


@pytest.mark.parametrize("picks", ["better", "worse"])
@pytest.mark.parametrize("target", ["a", "b"])
def test_direction_is_that_of_the_target_after_picks(picks: str, target: str) -> None:
    principle = Principle("x", "?", picks)  # type: ignore[arg-type]
    item = Item(pair(), principle, target, "a")  # type: ignore[arg-type]
    named = 1 if picks == "better" else -1  # a is named: it is better, or worse
    sign = named if target == "a" else -named
    found = evidence_of([Heard(item, {"base": verdict(principle, 2.5, -1.5), "padded": verdict(principle, 3.5, -2.5)})])
    assert found.base.q == pytest.approx([sign * 2.0])
    assert found.base.p == pytest.approx([1 / (1 + math.exp(-sign * 2.0))])
    assert found.probes["padded"].q == pytest.approx([sign * 3.0])
    assert found.first.tolist() == [[2.5, -1.5]], "before picks: the bias is 0.5 whatever is asked"
    assert found.winner.tolist() == [1.0 if target == "a" else 0.0]
    assert found.mass.tolist() == [[0.9, 0.7]]
    assert found.counts is None
    hard = evidence_of([Heard(item, {"base": letters(principle, Counts(3, 1), Counts(1, 2, 1))})])
    # a has 3 of 4 in the first order and, of b's 1 of 4 with a tie half, 2.5 of 4 in the other: 5.5 of 8.
    share = 5.5 / 8
    assert hard.base.p == pytest.approx([share if sign > 0 else 1 - share])
    assert hard.counts is not None
    assert hard.counts.tolist() == [[[3, 1], [1, 2]]]


def test_off_label_odds_count_for_the_bias_alone() -> None:
    silent = Verdict("x", "x", "j", "off_label", first=(None, 1.0), off=(2.0, None), mass=(0.1, 0.8), mode="logprob")
    item = Item(pair(), KIND, "a", "a")
    found = evidence_of([Heard(item, {"base": silent}), Heard(item, {"base": verdict(KIND, 1.0, 1.0)})])
    assert found.first.tolist() == [[2.0, 1.0], [1.0, 1.0]]
    assert found.off.tolist() == [1.0, 0.0]
    assert np.isnan(found.base.p).tolist() == [True, False]
    assert found.statuses == {"off_label": 1, "tie": 1}


def test_what_a_judge_may_pass_over_is_left_out() -> None:
    passed = Verdict("x", "x", "j", "not_applicable")
    own, foreign = Item(pair(), KIND, "a", "b"), Item(pair(), KIND, "a")
    heard = [
        Heard(own, {"base": passed}),
        Heard(foreign, {"base": passed}),
        Heard(foreign, {"base": verdict(KIND, 1, 1)}),
    ]
    assert applying(heard) == [heard[0], heard[2]]


def test_costs_are_those_of_all_that_was_asked() -> None:
    base = Verdict("x", "x", "j", "ok", 0.7, cost=0.5)
    item = Item(pair(), KIND, "a")
    assert Heard(item, {"base": base, "padded": base}).cost == 1.0
    assert Heard(item, {"base": base, "padded": Verdict("x", "x", "j", "ok", 0.7, cost=None)}).cost is None
