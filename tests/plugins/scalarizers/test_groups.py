"""The group-wise scalarizers against their formulas, written anew for one group in plain Python floats."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from morlaif_core import Scalarizer, ScoreMatrix, Terms
from morlaif_core.testing import make_scores, make_terms
from tests.helpers import scalarizer_cases


def build(name: str, **options: object) -> Scalarizer:
    return scalarizer_cases.build(scalarizer_cases.OFFERED[name], **options)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[ScoreMatrix, Terms]:
    """Groups of four rows, scores on a coarse grid so that ties occur."""
    n, k = 4 * draw(st.integers(1, 3)), draw(st.integers(1, 4))
    values = draw(arrays(np.float32, (n, k), elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0])))
    return make_scores(values, group=4), make_terms(priority=draw(st.permutations(range(k))))


def ranks(rows: list[tuple[float, ...]]) -> list[float]:
    """Shares of the others that a row beats, ties half."""
    others = len(rows) - 1
    return [(sum(b < a for b in rows) + 0.5 * (sum(b == a for b in rows) - 1)) / others for a in rows]


@given(grouped())
def test_leximin_is_a_sort_of_sorted_rows(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    rows = [tuple(sorted(row)) for row in scores.values.tolist()]
    expected = [rank for start in range(0, len(rows), 4) for rank in ranks(rows[start : start + 4])]
    np.testing.assert_allclose(build("leximin")(scores, terms), expected, atol=1e-6)


@given(grouped(), st.sampled_from([0.0, 0.6, 1.0]))
def test_lexicographic_rank_is_its_formula(case: tuple[ScoreMatrix, Terms], slack: float) -> None:
    scores, terms = case
    order = sorted(range(len(terms.priority)), key=lambda place: int(terms.priority[place]))
    expected: list[float] = []
    for start in range(0, len(scores.values), 4):
        group = scores.values[start : start + 4].tolist()
        best = [max(row[place] for row in group) for place in order]
        keys = [
            tuple(
                row[place] if slack == 0 or step == len(order) - 1 else -math.floor((best[step] - row[place]) / slack)
                for step, place in enumerate(order)
            )
            for row in group
        ]
        expected += ranks(keys)
    np.testing.assert_allclose(build("lexicographic_rank", slack=slack)(scores, terms), expected, atol=1e-6)


def test_slack_by_name_and_in_a_tier() -> None:
    scores = make_scores([[2.0, 0.0], [1.6, 1.0], [0.0, 3.0]], group=3)
    terms = make_terms(priority=[1, 2])
    assert build("lexicographic_rank", slack={"p0": 0.5})(scores, terms).tolist() == [0.5, 1.0, 0.0]
    assert build("lexicographic_rank", slack={"p1": 0.5})(scores, terms).tolist() == [1.0, 0.5, 0.0]
    tier = replace(scores, principles=("p0+x", "p1"))
    assert build("lexicographic_rank", slack={"p0": 1.0, "x": 0.0})(tier, terms).tolist() == [0.5, 1.0, 0.0]


def test_slack_of_a_name_with_a_dash_however_it_is_spelled() -> None:
    scores = replace(make_scores([[2.0, 0.0], [1.6, 1.0], [0.0, 3.0]], group=3), principles=("my-style", "p1"))
    terms = make_terms(priority=[1, 2])
    for slack in ({"my-style": 0.5}, {"my_style": 0.5}):
        assert build("lexicographic_rank", slack=slack)(scores, terms).tolist() == [0.5, 1.0, 0.0]
    tier = replace(scores, principles=("my-style+x", "p1"))
    assert build("lexicographic_rank", slack={"my_style": 1.0})(tier, terms).tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("slack", [5e-324, 1e-310, 1e-12])
def test_a_tiny_slack_is_none(slack: float) -> None:
    """What lies below the best, divided by it, is no number any more: two rows would share the bin of infinity."""
    scores, terms = make_scores([[2.0, 0.0], [1.6, 1.0], [0.0, 3.0]], group=3), make_terms(priority=[1, 2])
    assert build("lexicographic_rank", slack=slack)(scores, terms).tolist() == [1.0, 0.5, 0.0]


@settings(max_examples=50)
@given(grouped())
def test_normalize_then_sum_is_its_formula(case: tuple[ScoreMatrix, Terms]) -> None:
    scores, terms = case
    r, w, eps = scores.values.astype(np.float64), terms.weight.astype(np.float64), 1e-4
    parts = []
    for start in range(0, len(r), 4):
        group = r[start : start + 4]
        parts.append((group - group.mean(axis=0)) / (group.std(axis=0) + eps))
    v = np.concatenate(parts) @ w
    expected = (v - v.mean()) / (v.std() + eps)
    np.testing.assert_allclose(build("normalize_then_sum")(scores, terms), expected, rtol=1e-4, atol=1e-3)


def test_normalize_then_sum_on_groups_of_one_and_two() -> None:
    alone = make_scores([[1.0, 2.0], [3.0, -1.0]])
    assert build("normalize_then_sum")(alone, make_terms(k=2)).tolist() == [0.0, 0.0]
    pairs = make_scores([[1.0, 0.0], [1.1, 0.0]], group=2)
    assert build("normalize_then_sum")(pairs, make_terms(k=2)).round(1).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("name", ["leximin", "lexicographic_rank"])
def test_ranks_of_a_group_are_its_own_to_the_last_bit(name: str) -> None:
    generator = np.random.default_rng(0)
    values, groups = generator.choice([-1.0, 0.0, 0.5, 2.0], (40, 3)), generator.integers(0, 9, 40)
    scores = replace(make_scores(values), prompt_ids=tuple(map(str, groups)))
    whole = build(name)(scores, make_terms(k=3))
    for group in set(groups.tolist()):
        alone = replace(make_scores(values[groups == group]), prompt_ids=(str(group),) * int((groups == group).sum()))
        assert build(name)(alone, make_terms(k=3)).tolist() == whole[groups == group].tolist()
