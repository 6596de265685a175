"""`check_scalarizer` finds wrong gradients, terms and options that are not what they seem, rewards that know the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import Field

from morlaif_core import Component, Need, NoOptions, Options, Scalarizer, ScoreMatrix, Terms, UserError, component
from morlaif_core.testing import ContractError, check_scalarizer
from morlaif_scalarizers import morlaif_scalarizers
from tests.helpers.contracts import assert_found

OFFERED = {offered.name: offered for offered in morlaif_scalarizers()}
WEIGHT: frozenset[Any] = frozenset({"weight"})
THRESHOLD: frozenset[Any] = frozenset({"threshold"})


@dataclass
class Sloped:
    """The weighted sum, which knows its gradient, with one mistake or none."""

    mistake: str

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        return (scores.values * terms.weight).sum(axis=1)

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Any:
        weight, k = terms.weight, len(terms.weight)
        return {
            "": lambda: weight,
            "turned round": lambda: -weight,
            "without weights": lambda: np.full(k, 1 / k),
            "scaled": lambda: 2 * weight,
            "by place": weight[::-1].copy,
            "a row": lambda: weight[None],
            "a list": weight.tolist,
            "no number": lambda: weight * np.nan,
            "changes its argument": lambda: np.multiply(weight, 0.5, out=weight) * 2,
            "raises": lambda: weight[k],
        }[self.mistake]()


SLOPES = {
    "": "",
    "turned round": r"gradient\(\) says .* for p0",
    "without weights": r"gradient\(\) says",
    "scaled": r"gradient\(\) says",
    "by place": r"gradient\(\) says",
    "a row": r"gradient\(\) returned shape \(1, 1\), not \(1,\)",
    "a list": r"gradient\(\) returned list",
    "no number": r"gradient\(\) is not finite",
    "changes its argument": r"gradient\(\) changed its arguments",
    "raises": r"raised IndexError.*gradient\(\)",
}


@pytest.mark.parametrize("mistake", SLOPES)
def test_mistakes_of_a_gradient(mistake: str) -> None:
    offered: Component[Scalarizer] = component(
        "sloped", lambda o: Sloped(mistake), NoOptions, "knows its slopes", uses=WEIGHT, monotone=True
    )
    if not mistake:
        return check_scalarizer(offered)
    with pytest.raises(ContractError, match=SLOPES[mistake]):
        check_scalarizer(offered)


class Worst:
    """The minimum, whose gradient is one of several where scores tie."""

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        return scores.values.min(axis=1)

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Any:
        least = mean.values[0] == mean.values[0].min()
        return least / least.sum()


def test_a_gradient_at_a_kink_may_be_any_between_both_sides() -> None:
    offered: Component[Scalarizer] = component("worst", lambda o: Worst(), NoOptions, "the minimum", monotone=True)
    check_scalarizer(offered)


@pytest.mark.parametrize("name", ["weighted", "max_min", "lexicographic_rank", "lagrangian", "normalize_then_sum"])
def test_a_term_that_is_used_must_be_declared(name: str) -> None:
    for term in sorted(OFFERED[name].uses):
        with pytest.raises(ContractError, match=f"'{term}' is not among its uses, but another {term} changes"):
            check_scalarizer(replace(OFFERED[name], uses=OFFERED[name].uses - {term}))


@pytest.mark.parametrize(
    ("name", "term"), [("max_median", "weight"), ("leximin", "priority"), ("weighted", "threshold")]
)
def test_a_term_that_is_declared_must_be_used(name: str, term: Any) -> None:
    with pytest.raises(ContractError, match=f"declares that it uses '{term}', but another {term} changes nothing"):
        check_scalarizer(replace(OFFERED[name], uses=OFFERED[name].uses | {term}))


class Lifting:
    """Reads thresholds between steps alone: what stays below its threshold counts for more."""

    def __init__(self) -> None:
        self.lift: dict[str, float] = {}

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        weights = np.array([1 + self.lift.get(name, 0.0) for name in scores.principles])
        return (scores.values * weights).sum(axis=1) / weights.sum()

    def end_step(self, means: ScoreMatrix, terms: Terms) -> None:
        for place, name in enumerate(means.principles):
            below = max(0.0, float(terms.threshold[place] - means.values[0, place]))
            self.lift[name] = self.lift.get(name, 0.0) + below

    def state(self) -> Any:
        return {"lift": dict(self.lift)}

    def restore(self, state: Mapping[str, Any]) -> None:
        lift = {name: float(value) for name, value in state["lift"].items()}
        if not np.isfinite([*lift.values()]).all():
            raise ValueError("damaged")
        self.lift = lift


def test_a_term_may_be_used_between_steps_alone() -> None:
    offered: Component[Scalarizer] = component(
        "lifting", lambda options: Lifting(), NoOptions, "learns", uses=THRESHOLD, monotone=True
    )
    check_scalarizer(offered)
    with pytest.raises(ContractError, match="'threshold' is not among its uses"):
        check_scalarizer(replace(offered, uses=frozenset()))


class Stale(Lifting):
    """Its gradient forgets what it learned."""

    def gradient(self, mean: ScoreMatrix, terms: Terms) -> Any:
        return np.full(len(mean.principles), 1 / len(mean.principles))


def test_a_gradient_that_stands_still_while_rewards_learn_is_found() -> None:
    offered: Component[Scalarizer] = component(
        "stale", lambda options: Stale(), NoOptions, "learns", uses=THRESHOLD, monotone=True
    )
    with pytest.raises(ContractError, match=r"gradient\(\) says"):
        check_scalarizer(offered)


class Mixed(Options):
    """Options some of which are wrong."""

    weighted: bool = Field(False, description="by the weights, not evenly")
    form: Literal["sum", "root"] = Field("sum", description="of the scores")
    sharpness: float | None = Field(None, ge=0, lt=5, description="of the mean")
    lowest: float = Field(0.5, gt=0, le=1, description="share of the lowest scores")
    target: float = Field(4.0, description="no less than the clip range")


@dataclass
class Mixing:
    """The mean, and what options make of it."""

    options: Mixed
    fixed: bool

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        r, o = scores.values.astype(np.float64), self.options
        if o.target < float(terms.upper.max()):
            raise UserError("scalarizer.target: a score may pass it")
        if o.form == "root" and not self.fixed:
            with np.errstate(invalid="ignore"):
                return np.sqrt(r).mean(axis=1)
        if o.lowest < 1e-3 and not self.fixed:
            return r[:, 1:1].sum(axis=1) + np.float64("nan")
        if o.sharpness == 0 and not self.fixed:
            return np.full(len(r) + 1, 0.0)
        return (r * (terms.weight if o.weighted else 1 / r.shape[1])).sum(axis=1)


def mixed(**fixed: Any) -> Component[Scalarizer]:
    """Mixing whose mistakes are all mended where ``mended`` says so."""
    return component(
        "mixed", lambda o: Mixing(o, bool(fixed.get("mended"))), Mixed, "mixes", uses=WEIGHT, monotone=True
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"sharpness": 1.0, "lowest": 0.5}, r"'form': 'root'\}: the reward is not finite"),
        ({"sharpness": 1.0, "form": "sum"}, r"'lowest': 1e-10\}: the reward is not finite"),
        ({"lowest": 0.5, "form": "sum"}, r"'sharpness': 0\.0\}: returned shape"),
    ],
)
def test_each_option_is_tried_at_other_values(given: dict[str, object], found: str) -> None:
    with pytest.raises(ContractError, match=found):
        check_scalarizer(mixed(), given)


def test_a_term_may_be_used_under_other_options_alone_and_options_may_be_refused() -> None:
    check_scalarizer(mixed(mended=True))  # the weights count where `weighted` is set; a low target is refused
    with pytest.raises(ContractError, match="'weight' is not among its uses"):
        check_scalarizer(replace(mixed(mended=True), uses=frozenset()))
    with pytest.raises(ContractError, match="raised UserError"):
        check_scalarizer(mixed(mended=True), {"target": 1.0})  # asked for, so it must work


def test_options_that_do_without_a_declared_term_are_no_mistake() -> None:
    check_scalarizer(mixed(mended=True), {"weighted": False})


@dataclass
class Knowing:
    """The mean, by groups or by rows, and what it should not know of."""

    mistake: str

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        mean, ids = scores.values.mean(axis=1), scores.prompt_ids
        lengths = np.array([len(name) % 2 for name in ids], dtype=np.float32)
        return {
            "turns round at step 5": lambda: mean if terms.step < 5 else -mean,
            "not monotone at step 1000": lambda: mean - (terms.step >= 1000) * 2 * scores.values.std(axis=1),
            "other rows count later": lambda: mean + (mean.sum() if terms.step >= 5 else 0),
            "grows with the steps": lambda: mean * np.float32(1 + 1e-3 * terms.step),
            "the prompt's name": lambda: mean + lengths,
            "groups by their names": lambda: mean * (1 + lengths),
        }[self.mistake]()


KNOWING = {
    "turns round at step 5": "step 5: with one principle the order is not kept",
    "not monotone at step 1000": "step 1000: declared monotone",
    "other rows count later": "step 5: the reward of row .* depends on other rows",
    "grows with the steps": "",
    "the prompt's name": "other names of the same prompts change the reward",
    "groups by their names": "other names of the same prompts change the reward",
}


@pytest.mark.parametrize("mistake", KNOWING)
def test_mistakes_that_steps_and_names_bring_to_light(mistake: str) -> None:
    needs: frozenset[Need] = frozenset({"groups"}) if "groups" in mistake else frozenset()
    offered: Component[Scalarizer] = component(
        "knowing", lambda o: Knowing(mistake), NoOptions, "knows more", needs=needs, monotone="groups" not in mistake
    )
    assert_found(offered, KNOWING[mistake])
