"""What holds of every scalarizer that is offered, a stranger's too, whatever its options, the scores and the terms."""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings, strategies as st
from hypothesis.extra.numpy import arrays

from morlaif_core import Component, Floats, Scalarizer, ScoreMatrix, Terms, UserError
from morlaif_core.testing import check_scalarizer
from tests.helpers.scalarizer_cases import (
    CLIP,
    EVERYONE,
    OFFERED,
    build,
    build_and_listen,
    cases,
    must,
    options_of,
    reorder,
    take,
)

Drawn = tuple[Scalarizer, bool]
each = pytest.mark.parametrize("offered", EVERYONE.values(), ids=lambda offered: offered.name)
thorough = settings(max_examples=40, deadline=None)


def drawn(data: st.DataObject, offered: Component[Scalarizer], scores: ScoreMatrix) -> Drawn:
    """The scalarizer with drawn options, and whether it may be monotone with them."""
    return build_and_listen(offered, data.draw(options_of(offered, scores.principles), label="options"))


def call(scalarizer: Scalarizer, scores: ScoreMatrix, terms: Terms) -> Floats:
    """Rewards, without a warning; a user's error says that these options do not fit these principles."""
    with warnings.catch_warnings(), np.errstate(under="ignore"):
        warnings.simplefilter("error")
        try:
            return scalarizer(scores, terms)
        except UserError:
            reject()


def close(seen: Floats, expected: Floats) -> None:
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)


def test_the_package_and_a_stranger_are_tried() -> None:
    assert {*OFFERED, "median"} <= set(EVERYONE)


@pytest.mark.parametrize("name", sorted(set(EVERYONE) - set(OFFERED)))
def test_contract_of_strangers(name: str) -> None:
    """Those of the package stand in the contract suite of all plugins."""
    check_scalarizer(EVERYONE[name], must(EVERYONE[name]))


@each
@thorough
@given(data=st.data(), size=st.sampled_from([CLIP, 1e4]))
def test_one_finite_number_for_each_response(offered: Component[Scalarizer], data: st.DataObject, size: float) -> None:
    scores, terms = data.draw(cases(size=size))
    scalarizer, _ = drawn(data, offered, scores)
    before = pickle.dumps((scores, terms))
    rewards = call(scalarizer, scores, terms)
    assert rewards.shape == (len(scores.values),)
    assert np.issubdtype(rewards.dtype, np.floating)
    assert np.isfinite(rewards).all()
    assert pickle.dumps((scores, terms)) == before
    twin = pickle.loads(pickle.dumps(scalarizer))
    np.testing.assert_array_equal(call(twin, scores, terms), rewards)


@each
@thorough
@given(data=st.data())
def test_rows_or_groups_stand_alone(offered: Component[Scalarizer], data: st.DataObject) -> None:
    scores, terms = data.draw(cases(least=1))
    scalarizer, _ = drawn(data, offered, scores)
    whole = call(scalarizer, scores, terms)
    order = np.array(data.draw(st.permutations(range(len(whole)))))
    close(call(scalarizer, take(scores, order), terms), whole[order])
    if "groups" not in offered.needs:
        for row in range(len(whole)):
            close(call(scalarizer, take(scores, [row]), terms), whole[row : row + 1])
        return
    ids = np.array(scores.prompt_ids)
    for group in set(scores.prompt_ids):
        alone = call(scalarizer, take(scores, np.flatnonzero(ids == group)), terms)
        # A batch may be whitened: what is promised of a group is its order, and the ratios of its differences.
        inside = whole[ids == group].astype(np.float64)
        spans = np.ptp(alone), np.ptp(inside)
        if min(spans) > 1e-3:
            np.testing.assert_allclose((alone - alone.min()) / spans[0], (inside - inside.min()) / spans[1], atol=2e-3)


@each
@thorough
@given(data=st.data())
def test_the_order_of_principles_means_nothing(offered: Component[Scalarizer], data: st.DataObject) -> None:
    scores, terms = data.draw(cases())
    if any(field.annotation not in (float, bool) for field in offered.options.model_fields.values()):
        scalarizer = build(offered)  # options that speak of principles by place, as omega does of ranks, stay
    else:
        scalarizer, _ = drawn(data, offered, scores)
    order = np.array(data.draw(st.permutations(range(len(scores.principles)))))
    close(call(scalarizer, *reorder(scores, terms, order)), call(scalarizer, scores, terms))


@each
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_monotone_unless_it_says_otherwise(offered: Component[Scalarizer], data: st.DataObject) -> None:
    scores, terms = data.draw(cases(least=1))
    scalarizer, monotone = drawn(data, offered, scores)
    if not monotone:
        return
    n, k = scores.values.shape
    rise = data.draw(arrays(np.float32, (n, k), elements=st.floats(0, 1, width=32)))
    if "groups" in offered.needs:
        rise[1:] = 0  # one row alone: the others of its group may fall behind
    raised = scores.values + rise * (np.float32(CLIP) - scores.values)
    before = call(scalarizer, scores, terms)
    change = call(scalarizer, replace(scores, values=raised), terms) - before
    assert (change >= -1e-5 * np.maximum(1, np.abs(before)))[rise.any(axis=1)].all(), (before, change)


@each
@thorough
@given(data=st.data())
def test_one_principle_keeps_its_order(offered: Component[Scalarizer], data: st.DataObject) -> None:
    scores, terms = data.draw(cases(least=2, k=1))
    scalarizer, _ = drawn(data, offered, scores)
    group = replace(
        scores, prompt_ids=("prompt",) * len(scores.values), features=np.ones_like(scores.values[:, [0] * 5])
    )
    rewards = call(scalarizer, group, terms)
    order = np.argsort(scores.values[:, 0], kind="stable")
    assert (np.diff(rewards[order]) >= 0).all(), (scores.values[order, 0], rewards[order])


@pytest.mark.parametrize("name", OFFERED)
def test_docstrings_say_all_that_is_needed(name: str) -> None:
    scalarizer = build(OFFERED[name])
    doc = inspect.getdoc(scalarizer if inspect.isfunction(scalarizer) else type(scalarizer)) or ""
    for heading in ("Formula", "Source:", "Range:", r"Traps?:"):
        assert re.search(rf"^{heading}", doc, re.MULTILINE), heading
    assert re.search(r"^>>> ", doc, re.MULTILINE), "a worked example"
    source = doc[doc.index("Source:") : doc.index("Range:")]
    assert re.search(r"arXiv\s+\d{4}\.\d{5}|\b(19|20)\d\d\b|log-sum-exp", source), source
