"""What is said or refused about terms before anything is trained: groups, schedules, places in the order."""

from __future__ import annotations

from typing import Any

import pytest

from morlaif_core import NoOptions, UserError, component
from morlaif_core.config.settings import PrincipleSettings, RewardSettings
from morlaif_core.plugins.manager import Plugins
from morlaif_core.reward.terms.weights_and_thresholds import check_terms


def notes(name: str, reward: dict[str, Any] | None = None, **terms: dict[str, Any]) -> tuple[str, ...]:
    principles = {key.replace("__", "-"): PrincipleSettings.model_validate(value) for key, value in terms.items()}
    offered = Plugins.load().find("scalarizer", name)
    return check_terms(principles, offered, RewardSettings.model_validate(reward or {}))


def test_expected_utility_refuses_groups_that_options_ask_for() -> None:
    offered = component("odd", lambda _: None, NoOptions, "x", needs_for=lambda _: frozenset({"groups"}))
    reward = RewardSettings.model_validate({"utility": "expected"})
    with pytest.raises(UserError, match="odd ranks"):
        check_terms({"a": PrincipleSettings()}, offered, reward, NoOptions())


def schedule(*paths: str) -> dict[str, Any]:
    return {"schedules": {path: {"points": [[0, 0.5], [5, 1.0]]} for path in paths}}


def test_a_schedule_of_what_is_not_used_is_said() -> None:
    said = notes("max_min", schedule("a.weight", "a.threshold"), a={}, b={})
    assert said == ("scalarizer max_min does not use weight: the schedule a.weight changes nothing",)
    assert notes("weighted", schedule("a.weight"), a={}, b={}) == ()


def test_a_scheduled_weight_counts_within_a_tier_alone() -> None:
    apart = notes("lexicographic", schedule("a.weight"), a={"priority": 1}, b={"priority": 2})
    assert ["schedule a.weight" in note for note in apart] == [True]
    assert notes("lexicographic", schedule("a.weight"), a={"priority": 1}, b={"priority": 1}) == ()


def test_one_schedule_in_two_spellings_is_refused() -> None:
    with pytest.raises(UserError, match=r"a-b\.weight and a_b\.weight are the same"):
        notes("weighted", schedule("a-b.weight", "a_b.weight"), a__b={}, c={})
    assert notes("bernoulli_nash", schedule("a-b.weight", "a_b.threshold"), a__b={}, c={}) == ()


def test_a_place_that_is_anothers_priority_is_said() -> None:
    said = notes("lexicographic", a={}, b={"priority": 1}, c={"priority": 9})
    assert said == (
        "principles.a has no priority, so its place counts, 1, which is the priority of b too: they are one tier, their "
        "mean. Give a a priority: 1 where that is meant, else another number",
    )
    assert notes("lexicographic", a={}, b={"priority": 2}, c={"priority": 9}) == ()
    assert notes("lexicographic", a={"priority": 1}, b={"priority": 1}, c={}) == ()
    assert notes("lexicographic", a={"weight": 0}, b={"priority": 1}) == ()
    assert notes("lexicographic", a={}, b={"priority": 1, "weight": 0}) == ()
    assert all("place" not in note for note in notes("max_min", a={}, b={"priority": 1}))
