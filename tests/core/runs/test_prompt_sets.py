"""Prompt sets: disjoint by contract, drawn by hash, and a table where there are too few."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings, strategies as st

from morlaif_core import Message, Prompt, UserError, make_prompt
from morlaif_core.config.settings import PromptSettings
from morlaif_core.runs.prompt_sets import SETS, as_drawn, draw_prompt_sets, set_sizes


def prompts(*texts: str) -> list[Prompt]:
    return [make_prompt([Message("user", text)]) for text in texts]


def numbered(start: int, count: int) -> list[Prompt]:
    return prompts(*(f"question {number}" for number in range(start, start + count)))


def all_fit(found: Sequence[Prompt]) -> list[bool]:
    return [True] * len(found)


WANTED = st.builds(
    PromptSettings,
    pm=st.integers(2, 30),
    validation=st.floats(0.01, 0.99),
    calibration=st.integers(2, 10),
    rl=st.none() | st.integers(1, 20),
    evaluation=st.integers(2, 10),
)


@settings(max_examples=80, deadline=None)
@given(WANTED, st.integers(0, 120), st.integers(0, 40), st.integers(0, 120), st.randoms(use_true_random=False))
def test_sets_are_disjoint_whatever_the_splits_share(
    wanted: PromptSettings, train: int, test: int, offset: int, order: random.Random
) -> None:
    """The test split begins `offset` questions into the training split, so they may overlap; some stand twice."""
    pool, held_out = numbered(0, train), numbered(offset, test)
    pool += pool[: train // 3]
    try:
        drawn = draw_prompt_sets(iter(pool), iter(held_out), wanted, all_fit)
    except UserError:
        usable = len({prompt.id for prompt in pool} - {prompt.id for prompt in held_out})
        needed = wanted.pm + wanted.calibration + (wanted.rl or 1)
        assert needed > usable or wanted.evaluation > test, "refused though there are enough"
        return
    ids = drawn.ids()
    assert tuple(sorted(ids)) == tuple(sorted(SETS))
    everything = [prompt for name in SETS for prompt in ids[name]]
    assert len(everything) == len(set(everything)), "disjoint, each prompt once"
    test_ids = {prompt.id for prompt in held_out}
    assert set(ids["evaluation"]) <= test_ids
    assert not test_ids & {prompt for name in SETS if name != "evaluation" for prompt in ids[name]}
    assert len(ids["pm"]) + len(ids["validation"]) == wanted.pm
    assert len(ids["pm"]) >= 1
    assert len(ids["validation"]) >= 1
    assert len(ids["calibration"]) == wanted.calibration
    assert len(ids["evaluation"]) == wanted.evaluation
    assert len(ids["rl"]) == wanted.rl if wanted.rl else len(ids["rl"]) >= 1
    order.shuffle(pool)
    order.shuffle(held_out)
    assert draw_prompt_sets(pool, held_out, wanted, all_fit).ids() == ids, "the data set's order does not count"


SIZES = st.fixed_dictionaries(
    {
        "pm": st.integers(2, 60),
        "calibration": st.integers(2, 12),
        "rl": st.integers(1, 50),
        "evaluation": st.integers(2, 30),
    }
)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES)
def test_one_sets_size_moves_no_other_and_more_are_those_of_before_and_others(
    first: dict[str, int], second: dict[str, int]
) -> None:
    """While each fits its region: of 300 prompts pm's holds about 135, validation's and calibration's 30, rl's 105."""
    pool, held_out = numbered(0, 300), numbered(400, 40)
    before = draw_prompt_sets(pool, held_out, PromptSettings(**first), all_fit).ids()
    after = draw_prompt_sets(pool, held_out, PromptSettings(**second), all_fit).ids()
    for name in SETS:
        some = min(len(before[name]), len(after[name]))
        assert before[name][:some] == after[name][:some]


def test_a_set_larger_than_its_region_takes_what_others_leave_over() -> None:
    pool, held_out = numbered(0, 300), numbered(400, 40)
    wanted = PromptSettings(pm=200, validation=0.05, calibration=10, rl=20, evaluation=5)
    drawn = draw_prompt_sets(pool, held_out, wanted, all_fit).ids()
    assert [len(drawn[name]) for name in SETS] == [190, 10, 10, 20, 5]
    more = draw_prompt_sets(pool, held_out, wanted.model_copy(update={"calibration": 20, "rl": 30}), all_fit).ids()
    assert {name: more[name] for name in ("pm", "validation")} == {name: drawn[name] for name in ("pm", "validation")}
    everything = draw_prompt_sets(pool, held_out, wanted.model_copy(update={"rl": None}), all_fit).ids()
    assert len(everything["rl"]) == 300 - 210
    assert {**everything, "rl": None} == {**drawn, "rl": None}


def test_a_run_of_an_earlier_version_keeps_its_sets() -> None:
    wanted = PromptSettings(pm=10, calibration=5, rl=5, evaluation=5)
    drawn = draw_prompt_sets(numbered(0, 100), numbered(200, 20), wanted, all_fit, old=True).ids()
    larger = wanted.model_copy(update={"pm": 20, "validation": 0.05})
    moved = draw_prompt_sets(numbered(0, 100), numbered(200, 20), larger, all_fit, old=True).ids()
    in_a_row = [prompt for name in ("pm", "validation", "calibration") for prompt in drawn[name]]
    assert [*moved["pm"], *moved["validation"]][:15] == in_a_row, "one set behind the other"


def test_more_rl_prompts_leave_the_other_sets_as_they_are() -> None:
    wanted = PromptSettings(pm=10, calibration=5, rl=5, evaluation=5)
    few = draw_prompt_sets(numbered(0, 100), numbered(200, 20), wanted, all_fit).ids()
    many = draw_prompt_sets(numbered(0, 100), numbered(200, 20), wanted.model_copy(update={"rl": 50}), all_fit).ids()
    assert {**few, "rl": None} == {**many, "rl": None}
    assert few["rl"] == many["rl"][:5]


def test_the_draw_does_not_follow_the_data_sets_order() -> None:
    pool = numbered(0, 200)
    drawn = draw_prompt_sets(pool, numbered(300, 10), PromptSettings(pm=100, calibration=2, evaluation=2), all_fit)
    first = {prompt.id for prompt in pool[:100]}
    assert 30 < len(first & {*drawn.ids()["pm"], *drawn.ids()["validation"]}) < 70


def test_what_is_left_out_is_counted() -> None:
    pool, held_out = [*numbered(0, 20), *numbered(0, 3)], [*numbered(18, 6), *numbered(18, 1)]
    long = {prompt.id for prompt in numbered(5, 2)}
    wanted = PromptSettings(pm=4, calibration=2, evaluation=2)
    drawn = draw_prompt_sets(pool, held_out, wanted, lambda found: [prompt.id not in long for prompt in found])
    assert drawn.left_out == {"repeated prompts": 4, "in both splits": 2, "too long": 2}
    assert len(drawn.sets["rl"]) == 20 - 2 - 2 - 6


def test_too_few_prompts_shows_what_is_needed() -> None:
    with pytest.raises(UserError) as raised:
        draw_prompt_sets(numbered(0, 30), [], PromptSettings(pm=2000, evaluation=50), all_fit)
    text = str(raised.value)
    rows = [line.split() for line in text.splitlines()]
    assert ["pm", "2,000", "(of", "these", "200", "for", "validation)"] in rows
    assert ["calibration", "200"] in rows
    assert ["rl", "1", "(null:", "the", "rest,", "at", "least", "1)"] in rows
    assert ["together", "2,201", "of", "30", "usable", "prompts", "in", "the", "training", "split"] in rows
    assert ["evaluation", "50", "of", "0", "usable", "prompts", "in", "the", "test", "split"] in rows
    assert "Lower prompts.pm" in text
    assert raised.value.exit_code == 2


def test_a_test_split_that_is_too_small_says_what_makes_it_larger() -> None:
    with pytest.raises(UserError, match=r"Lower prompts\.evaluation, .* raise dataset\.held_out"):
        draw_prompt_sets(numbered(0, 30), numbered(50, 1), PromptSettings(pm=2, calibration=2, evaluation=2), all_fit)


def test_too_few_because_all_are_too_long_says_so() -> None:
    with pytest.raises(UserError, match="left out: 40 too long"):
        draw_prompt_sets(
            numbered(0, 30),
            numbered(50, 10),
            PromptSettings(pm=2, calibration=2, evaluation=2),
            lambda x: [False] * len(x),
        )


AUTO = PromptSettings(pm="auto", calibration="auto", evaluation="auto")


@pytest.mark.parametrize(
    ("train", "test", "sizes"),
    [
        (45, 5, (20, 2, 4, 19, 5)),
        (900, 100, (405, 45, 90, 360, 100)),
        (9000, 1000, (1800, 200, 200, 6800, 200)),
        (5, 2, (1, 1, 2, 1, 2)),
    ],
)
def test_auto_fits_the_counts_to_the_data(train: int, test: int, sizes: tuple[int, ...]) -> None:
    assert tuple(set_sizes(AUTO, train, test).values()) == sizes
    drawn = draw_prompt_sets(numbered(0, train), numbered(train, test), AUTO, all_fit)
    assert tuple(len(drawn.sets[name]) for name in SETS) == sizes


def test_auto_shares_what_given_counts_leave() -> None:
    wanted = AUTO.model_copy(update={"rl": 400})
    # 600 of 1,000 prompts are left, of which pm gets 5 of 6.
    assert tuple(set_sizes(wanted, 1000, 50).values()) == (450, 50, 100, 400, 50)
    assert set_sizes(wanted.model_copy(update={"pm": 300}), 1000, 50)["calibration"] == 200
    with pytest.raises(UserError, match="too few prompts"):
        draw_prompt_sets(numbered(0, 4), numbered(9, 5), AUTO, all_fit)


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 4000), st.integers(2, 500))
def test_auto_always_fits(train: int, test: int) -> None:
    sizes = set_sizes(AUTO, train, test)
    assert min(sizes.values()) >= 1
    assert sum(size for name, size in sizes.items() if name != "evaluation") == train
    assert 2 <= sizes["evaluation"] <= test


def test_counts_stay_as_they_were_drawn() -> None:
    drawn = draw_prompt_sets(numbered(0, 200), numbered(500, 30), AUTO, all_fit).ids()
    again = draw_prompt_sets(numbered(0, 400), numbered(500, 60), as_drawn(AUTO, drawn), all_fit).ids()
    counts = [[len(ids[name]) for name in SETS if name != "rl"] for ids in (drawn, again)]
    assert counts[0] == counts[1]
    assert as_drawn(PromptSettings(), drawn) == PromptSettings(), "a count that is given is what was asked for"
    assert as_drawn(AUTO, {}) == AUTO
