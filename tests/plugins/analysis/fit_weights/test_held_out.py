"""Fitted weights beside others on held-out choices: all of them get their slope in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from morlaif_analysis.fit_weights.choices import Choices, split
from morlaif_analysis.fit_weights.held_out import compare
from morlaif_analysis.fit_weights.logistic_weights import accuracy, cross_validated, fit
from morlaif_core import Doubles
from tests.helpers.planted_choices import planted, report


def loss_of(choices: Choices, slope: float, direction: Doubles) -> float:
    """The mean log loss of a slope along a direction, written anew."""
    z = slope * (choices.differences @ direction)
    return float(np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - choices.p_a * z))


def held_out_loss(choices: Choices, direction: Doubles) -> float:
    """The log loss on the held-out choices, with scipy's slope on the others."""
    train, test = split(choices)
    slope = minimize_scalar(lambda slope: loss_of(train, slope, direction), bounds=(0, 50), method="bounded").x
    return loss_of(test, float(slope), direction)


def fitted(choices: Choices) -> tuple[float, Doubles]:
    """The penalty that cross-validation chooses, and the coefficients under it."""
    train, _ = split(choices)
    losses = cross_validated(train, 0)
    penalty = min(losses, key=losses.__getitem__)
    return penalty, fit(train, penalty)


def test_held_out_accuracies_are_those_of_the_choices() -> None:
    choices = planted([0.9, 0.3], 2000, 13)
    held_out = report(choices)["held_out"]
    _, test = split(choices)
    right = accuracy(test, fitted(choices)[1])
    assert held_out["fitted"]["accuracy"]["mean"] == right
    assert held_out["equal"]["accuracy"]["mean"] == accuracy(test, np.ones(2))
    assert held_out["best_single"]["principle"] == "one"
    assert held_out["best_single"]["accuracy"]["mean"] == accuracy(test, np.array([1.0, 0.0]))
    low, high = held_out["fitted"]["accuracy"]["ci95"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(right * (1 - right) / 400), rel=0.2)
    assert "own" not in held_out


@pytest.mark.parametrize("signed", [False, True])
def test_every_direction_gets_its_slope_in_the_same_way(signed: bool) -> None:
    choices = planted([0.2, 0.1, 0.1, 0.1, 0.0, 0.0], 300, 13)
    found = report(choices, signed=signed)
    assert found["penalty"]["chosen"] > 0.05  # the coefficients themselves are pulled far towards 0
    beta = np.array([block["coefficient"] for block in found["principles"].values()])
    best = np.array([name == found["held_out"]["best_single"]["principle"] for name in found["principles"]], float)
    known = {"fitted": held_out_loss(choices, beta), "equal": held_out_loss(choices, np.ones(6))}
    known["best_single"] = held_out_loss(choices, best)
    for name, loss in known.items():
        assert found["held_out"][name]["log_loss"]["mean"] == pytest.approx(loss, abs=1e-4)
        if name != "fitted":
            saved = found["held_out"][name]["log_loss_gain"]
            assert saved["mean"] == pytest.approx(loss - known["fitted"], abs=1e-4)
            assert saved["ci95"][0] < saved["mean"] < saved["ci95"][1]


@pytest.mark.parametrize("beta", [0.1, 0.3, 1.5])
def test_a_single_principle_gains_nothing_over_itself(beta: float) -> None:
    held_out = report(planted([beta], 150, 20))["held_out"]
    nothing = {"mean": 0.0, "ci95": [0.0, 0.0]}
    for rival in ("equal", "best_single"):
        assert held_out[rival]["gain"] == nothing
        assert held_out[rival]["log_loss_gain"] == nothing


@pytest.mark.parametrize(("truth", "m"), [([1.5] * 2, 100), ([0.6] * 3, 400)])
def test_people_who_weigh_all_alike_seldom_show_a_difference(truth: list[float], m: int) -> None:
    shown: dict[str, list[Any]] = {"gain": [], "log_loss_gain": []}
    for seed in range(60):
        choices = planted(truth, m, seed)
        equal = np.full(len(truth), 1 / len(truth))
        found = compare(*split(choices), fitted(choices)[1], {"equal": equal}, seed, 200)["equal"]
        for key, ends in shown.items():
            ends.append(found[key]["ci95"])
    for ends in shown.values():
        low, high = np.array(ends).T
        assert (
            np.mean((low > 0) | (high < 0)) <= 0.1
        )  # 5 %, and a little more as a fit is a little worse than the truth
