"""`check_scalarizer` finds the mistakes seen in code in use, and names options, terms and row."""

from __future__ import annotations

import random
import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from morlaif_core import Component, Need, NoOptions, Options, Scalarizer, ScoreMatrix, Terms, component
from morlaif_core.testing import ContractError, check_scalarizer
from morlaif_scalarizers import morlaif_scalarizers
from morlaif_scalarizers.soft_max_min import SoftMaxMin

OFFERED = {offered.name: offered for offered in morlaif_scalarizers()}


class Wrong:
    """A scalarizer with one mistake."""

    def __init__(self, mistake: str) -> None:
        self.mistake, self.calls = mistake, 0

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        values, n = scores.values, len(scores.values)
        self.calls += 1
        return {
            "one number": lambda: np.asarray(np.median(values) if values.size else 0.0),
            "soft minimum over all entries": lambda: values.mean(axis=1) - np.log(np.exp(-values / 1e4).sum() + 1),
            "sorted along the samples": lambda: np.sort(values, axis=0).min(axis=1),
            "changes its argument": lambda: np.subtract(values, terms.threshold, out=values).min(axis=1),
            "changes its terms": lambda: values @ np.divide(terms.weight, 2, out=terms.weight),
            "a batch of one": lambda: values.min(axis=1) if n != 1 else np.squeeze(values).min(),
            "a batch of none": lambda: values.min(axis=1) / float(n) ** 0 + 0 * values.ravel()[0],
            "whitened by the batch": lambda: values.mean(axis=1) - values.sum() / max(values.size, 1),
            "lower is better": lambda: -values.min(axis=1),
            "overflow": lambda: -np.log(np.exp(-values).sum(axis=1)),
            "by place": lambda: values @ np.arange(1, values.shape[1] + 1),
            "not monotone": lambda: values.mean(axis=1) - 2 * values.std(axis=1),
            "not monotone at a threshold": lambda: (
                np.where(values > terms.threshold, values - 1, values).min(axis=1)
                if values.shape[1] > 1
                else values[:, 0]
            ),
            "minimum of weighted scores, as it stands": lambda: (values * -terms.weight).max(axis=1),
            "chance": lambda: values.mean(axis=1) + np.random.default_rng().normal(0, 1e-6, n),
            "a global generator": lambda: values.mean(axis=1) + 0 * np.random.rand(n),
            "python's generator": lambda: values.mean(axis=1) + 0 * random.random(),
            "counts its calls": lambda: values.mean(axis=1) + self.calls,
            "prints": lambda: (print("batch", n), values.mean(axis=1))[1],
            "prints to stderr": lambda: (print("batch", n, file=sys.stderr), values.mean(axis=1))[1],
            "warns": lambda: (warnings.warn("odd scores", stacklevel=1), values.mean(axis=1))[1],
            "divides by nothing": lambda: values.mean(axis=1) + 0 * np.nan_to_num(1 / np.zeros(n)),
            "whole numbers": lambda: np.round(values.sum(axis=1)).astype(int),
            "a list": lambda: values.mean(axis=1).tolist(),
            "a column": lambda: values.mean(axis=1, keepdims=True),
        }[self.mistake]()


FOUND = {
    "one number": "not a numpy array|returned shape",
    "soft minimum over all entries": "depends on other rows",
    "sorted along the samples": "depends on other rows",
    "changes its argument": "changed its arguments",
    "changes its terms": "changed its arguments",
    "a batch of one": r"returned float32|returned shape \(\), not \(1,\)",
    "a batch of none": "raised .*n = 0",
    "whitened by the batch": "depends on other rows",
    "lower is better": "order is not kept",
    "overflow": "it warns .*overflow|not finite",
    "by place": "permuting",
    "not monotone": "declared monotone, but raising principle p",
    "not monotone at a threshold": "declared monotone, but raising principle p",
    "minimum of weighted scores, as it stands": "order is not kept",
    "chance": "the same call gives another reward",
    "a global generator": "global random generator",
    "python's generator": "global random generator",
    "counts its calls": "the same call gives another reward",
    "prints": "it prints 'batch",
    "prints to stderr": "it prints 'batch",
    "warns": "it warns .*odd scores",
    "divides by nothing": "it warns .*divide",
    "whole numbers": "not floats",
    "a list": "returned list",
    "a column": r"returned shape \(0, 1\)",
}


@pytest.mark.parametrize(("mistake", "found"), FOUND.items())
def test_mistakes_of_a_row_wise_scalarizer(mistake: str, found: str) -> None:
    offered = component("wrong", lambda options: Wrong(mistake), NoOptions, "wrong", monotone=True)
    with pytest.raises(ContractError, match=found):
        check_scalarizer(offered)


def test_the_boltzmann_form_is_no_smooth_minimum() -> None:
    offered = replace(OFFERED["soft_max_min"], build=lambda o: SoftMaxMin(o.temperature, boltzmann=True))
    with pytest.raises(ContractError, match="declared monotone, but raising principle") as caught:
        check_scalarizer(offered)
    for word in ("row ", "scores [", "weight [", "threshold [", "priority [", "k = "):
        assert word in str(caught.value)
    check_scalarizer(OFFERED["soft_max_min"], {"boltzmann": True})  # says so when it is built


class Warm(Options):
    """Options with a temperature."""

    temperature: float = Field(1.0, gt=0, le=2, description="warmth")


def test_temperatures_beside_the_default_are_tried() -> None:
    def build(options: Warm) -> Scalarizer:
        broken = options.temperature < 0.1
        return Wrong("not monotone") if broken else OFFERED["weighted"].build(NoOptions())

    offered = component("warm", build, Warm, "wrong where it is cold", uses=frozenset({"weight"}), monotone=True)
    with pytest.raises(ContractError, match=r"warm \{'temperature': 0.01\}: declared monotone"):
        check_scalarizer(offered)
    check_scalarizer(offered, {"temperature": 0.5})
    with pytest.raises(ContractError, match=r"'temperature': 0.05"):
        check_scalarizer(offered, {"temperature": 0.05})


def ranks(values: Any, ids: tuple[str, ...]) -> Any:
    """Ranks within groups of one number a row."""
    groups = np.array(ids)
    shares = [np.mean(values[groups == group] < value) for value, group in zip(values, groups, strict=True)]
    return np.array(shares, dtype=np.float32)


class Ranks:
    """A group-wise scalarizer with one mistake or none."""

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake

    def __call__(self, scores: ScoreMatrix, terms: Terms) -> Any:
        ids, mean = scores.prompt_ids, scores.values.mean(axis=1)
        return {
            "": lambda: ranks(mean, ids),
            "ranked over the batch": lambda: ranks(mean, ("all",) * len(ids)),
            "groups by place": lambda: ranks(mean, tuple(str(place // 4) for place in range(len(ids)))),
            "the first row is the base": lambda: mean - mean[:1].sum(),
            "weighed by the batch": lambda: scores.values @ (scores.values.max(axis=0, initial=0) + 0.1),
            "turned by the batch": lambda: mean * np.sign(mean.sum() + 1e-9),
            "a group of one": lambda: ranks(mean, ids) if len(ids) != 1 else mean[:0],
        }[self.mistake]().astype(np.float32)


GROUPED = {
    "": "",
    "ranked over the batch": "ordered otherwise|change how",
    "groups by place": "the order of rows matters",
    "the first row is the base": "the order of rows matters",
    "weighed by the batch": "ordered otherwise|change how",
    "turned by the batch": "ordered otherwise|change how|order is",
    "a group of one": r"returned shape \(0,\), not \(1,\)",
}


@pytest.mark.parametrize("mistake", GROUPED)
def test_mistakes_of_a_group_wise_scalarizer(mistake: str) -> None:
    needs: frozenset[Need] = frozenset({"groups"})
    offered: Component[Scalarizer] = component("wrong", lambda o: Ranks(mistake), NoOptions, "ranks", needs=needs)
    if not mistake:
        return check_scalarizer(offered)
    with pytest.raises(ContractError, match=GROUPED[mistake]):
        check_scalarizer(offered)


def test_what_does_not_pickle_is_found() -> None:
    offered = component("local", lambda options: lambda scores, terms: scores.values.mean(axis=1), NoOptions, "local")
    with pytest.raises(ContractError, match="does not pickle"):
        check_scalarizer(offered)


def test_options_may_call_for_more() -> None:
    check_scalarizer(OFFERED["uncertainty_weighted"], {"ensemble": True})  # needs spread by these options alone
    bare = replace(OFFERED["uncertainty_weighted"], needs_for=None)
    with pytest.raises(ContractError, match="needs the spread"):
        check_scalarizer(bare, {"ensemble": True})


def test_what_is_said_to_be_linear_is() -> None:
    linear: frozenset[Need] = frozenset({"linear"})
    for name in ("weighted", "max_min"):
        offered = replace(OFFERED[name], supplies=linear)
        if name == "weighted":
            check_scalarizer(offered)
            continue
        with pytest.raises(ContractError, match="said to be linear"):
            check_scalarizer(offered)
